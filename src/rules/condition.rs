//! The one tree that queries and patterns both become.

use super::network::Network;
use super::wildcard::Wildcard;
use crate::event::number::Number;

/// What must hold of an event.
#[derive(Debug, Clone, PartialEq)]
pub enum Condition {
    /// All of these hold.
    All(Vec<Condition>),
    /// Any of these holds.
    Any(Vec<Condition>),
    /// This doesn't hold.
    Not(Box<Condition>),
    /// Of the values at the path, any by itself meets the condition, whose paths begin at that value.
    Has(Path, Box<Condition>),
    /// Any value at the path passes the test.
    Test(Path, Test),
}

/// Where a value is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Path {
    /// Where it begins.
    pub root: Root,
    /// The names that lead on from there.
    pub names: Vec<String>,
}

impl Path {
    /// A path that begins where one is.
    pub fn here(names: &[&str]) -> Self {
        Self::new(Root::Here, names)
    }

    /// A path that begins at the envelope.
    pub fn envelope(names: &[&str]) -> Self {
        Self::new(Root::Envelope, names)
    }

    fn new(root: Root, names: &[&str]) -> Self {
        let names = names.iter().map(|&name| name.to_owned()).collect();
        Self { root, names }
    }

    /// The path one name further.
    pub fn to(&self, name: &str) -> Self {
        let mut path = self.clone();
        path.names.push(name.to_owned());
        path
    }
}

/// Where a path begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Root {
    /// The event; within [`Condition::Has`] the value that is being looked at.
    Here,
    /// The envelope of EventBridge.
    Envelope,
    /// The word for the event's type.
    EventType,
}

/// What a value must be.
#[derive(Debug, Clone, PartialEq)]
pub enum Test {
    /// Equal to one of these.
    In(Vec<Literal>),
    /// In this order to a number or text.
    Compare(Order, Scalar),
    /// A text in this relation to one of these.
    Text(Relation, Vec<String>),
    /// A text that one of these patterns matches as a whole.
    Like(Vec<Wildcard>),
    /// An address in one of these networks.
    Cidr(Vec<Network>),
    /// There is a value.
    Exists,
    /// Of this type.
    Is(Type),
}

/// A value as a rule writes it.
#[derive(Debug, Clone, PartialEq)]
pub enum Literal {
    /// In double quotes.
    Text(String),
    /// A number.
    Number(Number),
    /// `true` or `false`.
    Bool(bool),
    /// `null`.
    Null,
}

/// What can be less or greater.
#[derive(Debug, Clone, PartialEq)]
pub enum Scalar {
    /// In double quotes.
    Text(String),
    /// A number.
    Number(Number),
}

/// The comparisons that are no equality.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// `<`
    Less,
    /// `<=`
    LessOrEqual,
    /// `>`
    Greater,
    /// `>=`
    GreaterOrEqual,
}

/// How one text is in another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Relation {
    /// It begins with it.
    StartsWith,
    /// It ends with it.
    EndsWith,
    /// It is somewhere in it.
    Contains,
    /// It is it, but for the case of letters.
    EqualsIgnoreCase,
    /// It begins with it, but for the case of letters.
    StartsWithIgnoreCase,
    /// It ends with it, but for the case of letters.
    EndsWithIgnoreCase,
}

/// The types of JSON, arrays left out: they stand for their elements.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Type {
    /// A text.
    Text,
    /// A number.
    Number,
    /// `true` or `false`.
    Boolean,
    /// `null`.
    Null,
    /// An object.
    Object,
}

impl Type {
    /// All types.
    pub const ALL: [Self; 5] = [Self::Text, Self::Number, Self::Boolean, Self::Null, Self::Object];

    /// The word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Number => "number",
            Self::Boolean => "boolean",
            Self::Null => "null",
            Self::Object => "object",
        }
    }
}

impl Relation {
    /// All relations.
    pub const ALL: [Self; 6] = [
        Self::StartsWith,
        Self::EndsWith,
        Self::Contains,
        Self::EqualsIgnoreCase,
        Self::StartsWithIgnoreCase,
        Self::EndsWithIgnoreCase,
    ];

    /// The operator.
    pub fn name(self) -> &'static str {
        match self {
            Self::StartsWith => "starts_with",
            Self::EndsWith => "ends_with",
            Self::Contains => "contains",
            Self::EqualsIgnoreCase => "equals_ignore_case",
            Self::StartsWithIgnoreCase => "starts_with_ignore_case",
            Self::EndsWithIgnoreCase => "ends_with_ignore_case",
        }
    }
}
