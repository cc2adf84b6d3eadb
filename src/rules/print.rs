//! Writes a condition as a query that reads as the same condition.

use std::fmt::{self, Display, Write};

use super::condition::{Condition, Literal, Order, Path, Root, Scalar, Test};
use super::words;

impl Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        condition(f, self, Names::OfEvents)
    }
}

/// What the first name of a path is a name of.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Names {
    /// Of events: one that seems misspelt stands in quotes.
    OfEvents,
    /// Of whatever a `has` looks at.
    OfAnything,
}

fn condition(f: &mut fmt::Formatter<'_>, it: &Condition, names: Names) -> fmt::Result {
    let bracketed = |f: &mut fmt::Formatter<'_>, inner: &Condition, names| {
        f.write_char('(')?;
        condition(f, inner, names)?;
        f.write_char(')')
    };
    let mut chain = |parts: &[Condition], word: &str, needs: fn(&Condition) -> bool| {
        for (number, part) in parts.iter().enumerate() {
            f.write_str(if number > 0 { word } else { "" })?;
            match needs(part) {
                true => bracketed(f, part, names)?,
                false => condition(f, part, names)?,
            }
        }
        Ok(())
    };
    match it {
        Condition::All(parts) => chain(parts, " and ", |part| {
            matches!(part, Condition::All(_) | Condition::Any(_))
        }),
        Condition::Any(parts) => chain(parts, " or ", |part| matches!(part, Condition::Any(_))),
        Condition::Not(inner) => match &**inner {
            Condition::Test(at, Test::In(literals)) => {
                path(f, at, names)?;
                match literals.as_slice() {
                    [one] => write!(f, " != {one}"),
                    several => write!(f, " not in {}", List(several)),
                }
            }
            Condition::All(_) | Condition::Any(_) => {
                f.write_str("not ")?;
                bracketed(f, inner, names)
            }
            Condition::Not(_) | Condition::Has(..) | Condition::Test(..) => {
                f.write_str("not ")?;
                condition(f, inner, names)
            }
        },
        Condition::Has(at, inner) => {
            path(f, at, names)?;
            f.write_str(" has ")?;
            bracketed(f, inner, Names::OfAnything)
        }
        Condition::Test(at, test) => {
            path(f, at, names)?;
            write!(f, " {test}")
        }
    }
}

fn path(f: &mut fmt::Formatter<'_>, path: &Path, names: Names) -> fmt::Result {
    let mut rest = path.names.iter();
    match path.root {
        Root::EventType => f.write_str("event_type")?,
        Root::Envelope => f.write_str("envelope")?,
        Root::Here => match rest.next() {
            None => f.write_str("this")?,
            Some(first) => {
                let misspelt = names == Names::OfEvents && words::misspelt(first).is_some();
                if is_plain(first) && !is_reserved(first) && !misspelt {
                    f.write_str(first)?;
                } else {
                    Quoted(first).fmt(f)?;
                }
            }
        },
    }
    for name in rest {
        f.write_char('.')?;
        match is_plain(name) {
            true => f.write_str(name)?,
            false => Quoted(name).fmt(f)?,
        }
    }
    Ok(())
}

impl Display for Test {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::In(literals) => match literals.as_slice() {
                [one] => write!(f, "= {one}"),
                several => write!(f, "in {}", List(several)),
            },
            Self::Compare(order, scalar) => write!(f, "{order} {scalar}"),
            Self::Text(relation, texts) => {
                let quoted: Vec<Quoted<'_>> = texts.iter().map(|text| Quoted(text)).collect();
                write!(f, "{} {}", relation.name(), OneOrList(&quoted))
            }
            Self::Like(wildcards) => {
                let quoted: Vec<Quoted<'_>> = wildcards.iter().map(|wildcard| Quoted(&wildcard.written)).collect();
                write!(f, "like {}", OneOrList(&quoted))
            }
            Self::Cidr(networks) => {
                let texts: Vec<String> = networks.iter().map(ToString::to_string).collect();
                let quoted: Vec<Quoted<'_>> = texts.iter().map(|text| Quoted(text)).collect();
                write!(f, "cidr {}", OneOrList(&quoted))
            }
            Self::Exists => f.write_str("exists"),
            Self::Is(kind) => write!(f, "is {}", kind.name()),
        }
    }
}

/// Several values in brackets.
struct List<'a, T>(&'a [T]);

impl<T: Display> Display for List<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_char('(')?;
        for (number, one) in self.0.iter().enumerate() {
            let comma = if number > 0 { ", " } else { "" };
            write!(f, "{comma}{one}")?;
        }
        f.write_char(')')
    }
}

/// One value, or several in brackets.
struct OneOrList<'a, T>(&'a [T]);

impl<T: Display> Display for OneOrList<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            [one] => one.fmt(f),
            several => List(several).fmt(f),
        }
    }
}

/// A text in double quotes, escaped as in JSON.
pub(super) struct Quoted<'a>(pub &'a str);

impl Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_char('"')?;
        for c in self.0.chars() {
            match c {
                '"' | '\\' => write!(f, "\\{c}")?,
                '\n' => f.write_str("\\n")?,
                '\r' => f.write_str("\\r")?,
                '\t' => f.write_str("\\t")?,
                c if c.is_control() => write!(f, "\\u{:04x}", u32::from(c))?,
                c => f.write_char(c)?,
            }
        }
        f.write_char('"')
    }
}

impl Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        path(f, self, Names::OfEvents)
    }
}

/// Whether a name needs no quotes.
fn is_plain(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
}

/// Whether a name is a word of the language, in whatever case.
pub(super) fn is_reserved(name: &str) -> bool {
    words::RESERVED.iter().any(|word| word.eq_ignore_ascii_case(name))
}

impl Display for Literal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => Quoted(text).fmt(f),
            Self::Number(number) => number.fmt(f),
            Self::Bool(value) => value.fmt(f),
            Self::Null => f.write_str("null"),
        }
    }
}

impl Display for Scalar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => Quoted(text).fmt(f),
            Self::Number(number) => number.fmt(f),
        }
    }
}

impl Display for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Less => "<",
            Self::LessOrEqual => "<=",
            Self::Greater => ">",
            Self::GreaterOrEqual => ">=",
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::condition::{Relation, Type};
    use super::super::network::Network;
    use super::super::wildcard::Wildcard;
    use super::super::{parser, pattern};
    use super::*;
    use crate::event::EventType;
    use crate::event::number::Number;

    #[test]
    fn a_path_is_written_with_quotes_where_it_must_be() {
        let path = |names: &[&str]| Path {
            root: Root::Here,
            names: names.iter().map(|&name| name.to_owned()).collect(),
        };
        for (names, written) in [
            (&["eventName"][..], "eventName"),
            (&["a", "b-c", "d_1"], "a.b-c.d_1"),
            (
                &["ProductFields", "aws/securityhub/X"],
                "ProductFields.\"aws/securityhub/X\"",
            ),
            (&["and"], "\"and\""),
            (&["And"], "\"And\""),
            (&["x", "and"], "x.and"),
            (&["eventname"], "\"eventname\""),
            (&["0"], "\"0\""),
            (&[""], "\"\""),
            (&[], "this"),
        ] {
            assert_eq!(path(names).to_string(), written);
        }
    }

    fn name() -> impl Strategy<Value = String> {
        prop_oneof![
            "[a-zA-Z_][a-zA-Z0-9_-]{0,8}",
            any::<String>(),
            prop::sample::select(vec!["eventname", "And", "null", "this", "event_type", "eventName"])
                .prop_map(str::to_owned),
        ]
    }

    fn any_path() -> impl Strategy<Value = Path> {
        let names = || prop::collection::vec(name(), 0..3);
        let here = names().prop_map(|names| Path {
            root: Root::Here,
            names,
        });
        let envelope = (prop::sample::select(words::ENVELOPE), names()).prop_map(|(first, names)| Path {
            root: Root::Envelope,
            names: std::iter::once(first.to_owned()).chain(names).collect(),
        });
        prop_oneof![4 => here, 1 => envelope]
    }

    fn number() -> impl Strategy<Value = Number> {
        let finite = any::<f64>().prop_filter("finite", |real| real.is_finite());
        prop_oneof![any::<i64>().prop_map(Number::Whole), finite.prop_map(Number::Real)]
    }

    fn literal() -> impl Strategy<Value = Literal> {
        prop_oneof![
            any::<String>().prop_map(Literal::Text),
            number().prop_map(Literal::Number),
            any::<bool>().prop_map(Literal::Bool),
            Just(Literal::Null),
        ]
    }

    fn any_test() -> impl Strategy<Value = Test> {
        let some = |strategy: BoxedStrategy<String>| prop::collection::vec(strategy, 1..4);
        let order = prop::sample::select(vec![
            Order::Less,
            Order::LessOrEqual,
            Order::Greater,
            Order::GreaterOrEqual,
        ]);
        let scalar = prop_oneof![
            any::<String>().prop_map(Scalar::Text),
            number().prop_map(Scalar::Number)
        ];
        let escaped = |text: String| text.replace('\\', r"\\").replace('*', r"\*");
        let middle = prop::collection::vec(".{1,4}", 0..3);
        let wildcard = (any::<String>(), middle, any::<String>()).prop_map(move |(first, middle, last)| {
            let pieces: Vec<String> = std::iter::once(first)
                .chain(middle)
                .chain([last])
                .map(escaped)
                .collect();
            Wildcard::parse(&pieces.join("*")).expect("a wildcard")
        });
        let network = prop::sample::select(vec![
            "0.0.0.0/0",
            "10.0.0.0/8",
            "192.0.2.1",
            "::/0",
            "2001:db8::/33",
            "::1",
        ])
        .prop_map(|text| Network::parse(text).expect("a network"));
        prop_oneof![
            prop::collection::vec(literal(), 1..4).prop_map(Test::In),
            (order, scalar).prop_map(|(order, scalar)| Test::Compare(order, scalar)),
            (
                prop::sample::select(Relation::ALL.to_vec()),
                some(any::<String>().boxed())
            )
                .prop_map(|(relation, texts)| Test::Text(relation, texts)),
            prop::collection::vec(wildcard, 1..3).prop_map(Test::Like),
            prop::collection::vec(network, 1..3).prop_map(Test::Cidr),
            Just(Test::Exists),
            prop::sample::select(Type::ALL.to_vec()).prop_map(Test::Is),
        ]
    }

    fn any_condition() -> impl Strategy<Value = Condition> {
        let of_type = prop::sample::select(EventType::ALL.to_vec()).prop_map(|kind| {
            let path = Path {
                root: Root::EventType,
                names: vec![],
            };
            Condition::Test(path, Test::In(vec![Literal::Text(kind.name().to_owned())]))
        });
        let leaf = prop_oneof![9 => (any_path(), any_test()).prop_map(|(path, test)| Condition::Test(path, test)), 1 => of_type];
        leaf.prop_recursive(6, 24, 4, |inner| {
            let several = || prop::collection::vec(inner.clone(), 2..4);
            prop_oneof![
                several().prop_map(Condition::All),
                several().prop_map(Condition::Any),
                inner.clone().prop_map(|inner| Condition::Not(Box::new(inner))),
                (any_path(), inner.clone()).prop_map(|(path, inner)| Condition::Has(path, Box::new(inner))),
            ]
        })
    }

    proptest! {
        #[test]
        fn every_tree_is_written_as_a_query_that_reads_as_the_same_tree(condition in any_condition()) {
            let written = condition.to_string();
            prop_assume!(written.len() <= parser::LONGEST);
            prop_assert_eq!(parser::parse(&written), Ok(condition), "{}", written);
        }

        #[test]
        fn no_text_makes_the_parsers_panic(text in any::<String>()) {
            let _ = parser::parse(&text);
            let _ = pattern::parse(&text);
        }
    }
}
