//! JSON whose values know where they stand, so that a mistake in a pattern can be pointed at.

use crate::event::number::Number;
use crate::rules::lexer::{Mistake, text};

/// How deep a pattern may be nested.
pub(super) const DEEPEST: usize = 16;

/// A value and the byte that it begins at.
#[derive(Debug)]
pub(super) struct Node {
    pub at: usize,
    pub value: Value,
}

#[derive(Debug)]
pub(super) enum Value {
    Null,
    Bool(bool),
    Number(Number),
    Text(String),
    Array(Vec<Node>),
    Object(Vec<Member>),
}

/// A member of an object and the byte that its name begins at.
#[derive(Debug)]
pub(super) struct Member {
    pub at: usize,
    pub name: String,
    pub node: Node,
}

/// Reads a whole text.
pub(super) fn read(source: &str) -> Result<Node, Mistake> {
    let mut reader = Reader { source, at: 0 };
    let node = reader.node(0)?;
    reader.spaces();
    match reader.rest().chars().next() {
        None => Ok(node),
        Some(c) => Err(reader.mistake(format!("expected the end of the pattern, found `{}`", c.escape_debug()))),
    }
}

struct Reader<'a> {
    source: &'a str,
    at: usize,
}

impl<'a> Reader<'a> {
    fn rest(&self) -> &'a str {
        self.source.get(self.at..).unwrap_or_default()
    }

    fn spaces(&mut self) {
        let rest = self.rest();
        self.at += rest.len() - rest.trim_ascii_start().len();
    }

    fn mistake(&self, text: impl Into<String>) -> Mistake {
        Mistake::new(self.at, text)
    }

    /// Takes a sign if it comes next.
    fn takes(&mut self, sign: char) -> bool {
        self.spaces();
        let found = self.rest().starts_with(sign);
        self.at += if found { sign.len_utf8() } else { 0 };
        found
    }

    fn node(&mut self, depth: usize) -> Result<Node, Mistake> {
        self.spaces();
        let at = self.at;
        if depth > DEEPEST {
            return Err(self.mistake(format!("nested more than {DEEPEST} deep")));
        }
        let value = match self.rest().chars().next() {
            Some('{') => Value::Object(self.object(depth)?),
            Some('[') => Value::Array(self.array(depth)?),
            Some('"') => Value::Text(self.text()?),
            _ => self.word()?,
        };
        Ok(Node { at, value })
    }

    fn text(&mut self) -> Result<String, Mistake> {
        let (text, length) = text(self.rest()).map_err(|reason| self.mistake(reason))?;
        self.at += length;
        Ok(text)
    }

    fn word(&mut self) -> Result<Value, Mistake> {
        let rest = self.rest();
        let words = [
            ("null", Value::Null),
            ("true", Value::Bool(true)),
            ("false", Value::Bool(false)),
        ];
        for (word, value) in words {
            if rest.starts_with(word) {
                self.at += word.len();
                return Ok(value);
            }
        }
        match Number::prefix(rest) {
            Some((number, length)) => {
                self.at += length;
                Ok(Value::Number(number))
            }
            None => Err(self.mistake(match rest.chars().next() {
                Some(c) => format!("expected a value of JSON, found `{}`", c.escape_debug()),
                None => "the pattern ends too soon".to_owned(),
            })),
        }
    }

    fn array(&mut self, depth: usize) -> Result<Vec<Node>, Mistake> {
        self.at += 1;
        let mut nodes = vec![];
        if self.takes(']') {
            return Ok(nodes);
        }
        loop {
            nodes.push(self.node(depth + 1)?);
            if self.takes(']') {
                return Ok(nodes);
            }
            if !self.takes(',') {
                return Err(self.mistake("expected `,` or `]` behind a value"));
            }
        }
    }

    fn object(&mut self, depth: usize) -> Result<Vec<Member>, Mistake> {
        self.at += 1;
        let mut members: Vec<Member> = vec![];
        if self.takes('}') {
            return Ok(members);
        }
        loop {
            self.spaces();
            let at = self.at;
            if !self.rest().starts_with('"') {
                return Err(self.mistake("expected the name of a field in double quotes"));
            }
            let name = self.text()?;
            if members.iter().any(|member| member.name == name) {
                return Err(Mistake::new(
                    at,
                    format!("`{name}` stands twice in one object: put its values into one array"),
                ));
            }
            if !self.takes(':') {
                return Err(self.mistake("expected `:` behind the name of a field"));
            }
            let node = self.node(depth + 1)?;
            members.push(Member { at, name, node });
            if self.takes('}') {
                return Ok(members);
            }
            if !self.takes(',') {
                return Err(self.mistake("expected `,` or `}` behind a value"));
            }
        }
    }
}
