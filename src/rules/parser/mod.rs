//! Reads a query: `event_type = "cloudtrail" and (eventName starts_with "Describe" or not readOnly = true)`.
//!
//! ```text
//! either  = both { "or" both }
//! both    = one { "and" one }
//! one     = "not" one | "(" either ")" | path test
//! test    = ("=" | "!=") value | ("<" | "<=" | ">" | ">=") (text | number) | ["not"] "in" values
//!         | ["not"] (relation | "like" | "cidr") (text | texts) | "exists" | "is" type | "has" "(" either ")"
//! path    = ("event_type" | "envelope" | "this" | name) { "." name }
//! ```

mod mistakes;
mod values;

use mistakes::{behind, check_root, check_type, no_operator, said};

use super::condition::{Condition, Order, Path, Relation, Root, Test};
use super::lexer::{Mistake, Token, TokenKind, tokens};
use super::network::Network;
use super::print::is_reserved;
use super::wildcard::Wildcard;
use super::words;

/// The longest query, in bytes.
pub const LONGEST: usize = 8192;

/// How deep brackets and `not` may be nested.
pub const DEEPEST: usize = 64;

/// Reads a query.
///
/// # Errors
/// What is wrong first, where, and what was meant.
pub fn parse(source: &str) -> Result<Condition, Mistake> {
    if source.len() > LONGEST {
        return Err(Mistake::new(
            LONGEST,
            format!("the condition is longer than {LONGEST} bytes: make several rules of it"),
        ));
    }
    let mut parser = Parser {
        tokens: tokens(source)?,
        next: 0,
        depth: 0,
        has: 0,
    };
    if parser.peek().kind == TokenKind::End {
        return Err(Mistake::new(0, "the condition is empty"));
    }
    let condition = parser.either()?;
    match &parser.peek().kind {
        TokenKind::End => Ok(condition),
        TokenKind::Sign(")") => Err(parser.mistake("this bracket was never opened")),
        kind => Err(parser.mistake(behind(kind))),
    }
}

struct Parser<'a> {
    /// Never empty: the last one is the end.
    tokens: Vec<Token<'a>>,
    next: usize,
    depth: usize,
    /// Within so many `has`: there, names are not those of events.
    has: usize,
}

/// Stands behind the last token.
const END: Token<'static> = Token {
    at: 0,
    kind: TokenKind::End,
};

impl<'a> Parser<'a> {
    fn peek(&self) -> &Token<'a> {
        self.tokens.get(self.next).or(self.tokens.last()).unwrap_or(&END)
    }

    fn take(&mut self) -> Token<'a> {
        let token = self.peek().clone();
        self.next += 1;
        token
    }

    /// Takes a word or sign if it comes next.
    fn takes(&mut self, wanted: &str) -> bool {
        let found = match &self.peek().kind {
            TokenKind::Word(word) => *word == wanted,
            TokenKind::Sign(sign) => *sign == wanted,
            TokenKind::Text(_) | TokenKind::Number(_) | TokenKind::End => false,
        };
        self.next += usize::from(found);
        found
    }

    /// Something is wrong with what comes next.
    fn mistake(&self, text: impl Into<String>) -> Mistake {
        Mistake::new(self.peek().at, text)
    }

    fn expect(&mut self, sign: &str, why: &str) -> Result<(), Mistake> {
        if self.takes(sign) {
            return Ok(());
        }
        Err(self.mistake(format!("expected `{sign}` {why}, found {}", said(&self.peek().kind))))
    }

    /// Goes one bracket or `not` deeper.
    fn deeper<T>(&mut self, inner: impl FnOnce(&mut Self) -> Result<T, Mistake>) -> Result<T, Mistake> {
        if self.depth == DEEPEST {
            return Err(self.mistake(format!("nested more than {DEEPEST} deep")));
        }
        self.depth += 1;
        let result = inner(self);
        self.depth -= 1;
        result
    }

    fn either(&mut self) -> Result<Condition, Mistake> {
        self.chain("or", Self::both, Condition::Any)
    }

    fn both(&mut self) -> Result<Condition, Mistake> {
        self.chain("and", Self::one, Condition::All)
    }

    fn chain(
        &mut self,
        word: &str,
        part: fn(&mut Self) -> Result<Condition, Mistake>,
        all: fn(Vec<Condition>) -> Condition,
    ) -> Result<Condition, Mistake> {
        let first = part(self)?;
        if !self.takes(word) {
            return Ok(first);
        }
        let mut parts = vec![first, part(self)?];
        while self.takes(word) {
            parts.push(part(self)?);
        }
        Ok(all(parts))
    }

    fn one(&mut self) -> Result<Condition, Mistake> {
        if self.takes("not") {
            return Ok(Condition::Not(Box::new(self.deeper(Self::one)?)));
        }
        if self.takes("(") {
            return self.brackets();
        }
        let (at, path) = self.path()?;
        self.test(at, path)
    }

    /// What stands in brackets, the opening one taken already.
    fn brackets(&mut self) -> Result<Condition, Mistake> {
        let inner = self.deeper(Self::either)?;
        match &self.peek().kind {
            TokenKind::Sign(")") => {
                self.next += 1;
                Ok(inner)
            }
            TokenKind::End => Err(self.mistake("a closing bracket is missing")),
            kind => Err(self.mistake(behind(kind).replace("the end", "`)`"))),
        }
    }

    fn path(&mut self) -> Result<(usize, Path), Mistake> {
        let Token { at, kind } = self.take();
        let mut names = vec![];
        let root = match kind {
            TokenKind::Word("event_type") => Root::EventType,
            TokenKind::Word("envelope") => Root::Envelope,
            TokenKind::Word("this") => Root::Here,
            TokenKind::Word("exists") => {
                return Err(Mistake::new(at, "`exists` stands behind the field: `errorCode exists`"));
            }
            TokenKind::Word(word) if is_reserved(word) => {
                let small = word.to_ascii_lowercase();
                return Err(Mistake::new(
                    at,
                    if small == word {
                        format!("expected a field, found `{word}`; a field of this name stands in quotes: \"{word}\"")
                    } else {
                        format!(
                            "words of the language are small: write `{small}`, or \"{word}\" for a field of this name"
                        )
                    },
                ));
            }
            TokenKind::Word(name) => {
                if let Some(meant) = words::misspelt(name).filter(|_| self.has == 0) {
                    return Err(Mistake::new(
                        at,
                        format!(
                            "no event has a field `{name}`: did you mean `{meant}`? (in quotes, \"{name}\" is taken as it is)"
                        ),
                    ));
                }
                names.push(name.to_owned());
                Root::Here
            }
            TokenKind::Text(name) => {
                names.push(name);
                Root::Here
            }
            kind => {
                return Err(Mistake::new(
                    at,
                    format!("expected a field, `not` or `(`, found {}", said(&kind)),
                ));
            }
        };
        while self.takes(".") {
            match self.take() {
                Token {
                    kind: TokenKind::Word(name),
                    ..
                } => names.push(name.to_owned()),
                Token {
                    kind: TokenKind::Text(name),
                    ..
                } => names.push(name),
                Token { kind, at } => {
                    return Err(Mistake::new(
                        at,
                        format!("expected a name behind `.`, found {}", said(&kind)),
                    ));
                }
            }
        }
        check_root(at, root, &names)?;
        Ok((at, Path { root, names }))
    }

    fn test(&mut self, at: usize, path: Path) -> Result<Condition, Mistake> {
        let negated = self.takes("not");
        if negated {
            // It is written with its `not` in front.
            self.deeper(|_| Ok(()))?;
        }
        let Token { at: operator_at, kind } = self.take();
        let operator = match kind {
            TokenKind::Word(word) => word,
            TokenKind::Sign(sign) => sign,
            TokenKind::Text(_) | TokenKind::Number(_) | TokenKind::End => "",
        };
        let test = match (operator, negated) {
            ("=", false) => Test::In(vec![self.literal(operator)?]),
            ("!=", false) => {
                let test = Test::In(vec![self.literal(operator)?]);
                check_type(at, &path, &test)?;
                return Ok(Condition::Not(Box::new(Condition::Test(path, test))));
            }
            ("in", _) => Test::In(self.literals()?),
            ("exists", _) => Test::Exists,
            ("is", false) => Test::Is(self.kind()?),
            ("has", false) => {
                self.expect("(", "behind `has`")?;
                self.has += 1;
                let inner = self.brackets()?;
                self.has -= 1;
                return Ok(Condition::Has(path, Box::new(inner)));
            }
            ("like", _) => Test::Like(self.each_text(operator, |text| Wildcard::parse(text).map_err(str::to_owned))?),
            ("cidr", _) => Test::Cidr(self.each_text(operator, Network::parse)?),
            _ => match (order(operator), relation(operator)) {
                (Some(order), _) if !negated => Test::Compare(order, self.scalar(operator)?),
                (_, Some(relation)) => Test::Text(relation, self.each_text(operator, |text| Ok(text.to_owned()))?),
                _ => return Err(Mistake::new(operator_at, no_operator(&path, &kind, negated))),
            },
        };
        check_type(at, &path, &test)?;
        let condition = Condition::Test(path, test);
        Ok(if negated {
            Condition::Not(Box::new(condition))
        } else {
            condition
        })
    }
}

fn order(sign: &str) -> Option<Order> {
    match sign {
        "<" => Some(Order::Less),
        "<=" => Some(Order::LessOrEqual),
        ">" => Some(Order::Greater),
        ">=" => Some(Order::GreaterOrEqual),
        _ => None,
    }
}

fn relation(word: &str) -> Option<Relation> {
    Relation::ALL.into_iter().find(|relation| relation.name() == word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_reads_as_its_tree_and_is_written_as_it_was() {
        for source in [
            r#"event_type = "cloudtrail" and eventSource = "ecr.amazonaws.com" and responseElements.imageScanFindings.findingSeverityCounts.HIGH > 0"#,
            r#"event_type = "cloudtrail" and (eventName starts_with "Describe" or eventName starts_with "List")"#,
            r#"a = 1 or b = 2 and c = 3"#,
            r#"(a = 1 or b = 2) and c = 3"#,
            r#"(a = 1 and b = 2) and c = 3"#,
            r#"not (a = 1 and b = 2)"#,
            r#"not not a exists"#,
            r#"a != null and b not in ("x", 1, true, null)"#,
            r#"a in ("x", "y") and b like ("x*", "*y")"#,
            r#"a cidr ("10.0.0.0/8", "2001:db8::/32") and b cidr "192.0.2.1/32""#,
            r#"a starts_with_ignore_case "x" or a ends_with_ignore_case "y" or a equals_ignore_case "z""#,
            r#"tags has (key = "role" and value = "scanner")"#,
            r#"Resources has (Type = "AwsEc2Instance" and Details has (eventname = 1)) and "eventname" = 2"#,
            r#"a has (this is number and this > 0 and this <= -1.5)"#,
            r#"envelope.detail-type contains "x" and envelope.detail.actionName = "y""#,
            r#"ProductFields."aws/securityhub/SeverityLabel" = "HIGH" and "and" = "not""#,
            r#"a < "2026-11-22T00:00:00Z" and b >= 1e300"#,
            r#"a is object and b is text and c is boolean and d is null"#,
        ] {
            assert_eq!(parse(source).map(|tree| tree.to_string()), Ok(source.to_owned()));
        }
        for (source, written) in [
            ("not a = 1", "a != 1"),
            ("a not exists", "not a exists"),
            ("a not like \"x*\"", "not a like \"x*\""),
            ("((a = 1))", "a = 1"),
            ("a not in (1)", "a != 1"),
            ("\"eventName\" = 1", "eventName = 1"),
            ("this.a = 1", "a = 1"),
            ("a\n  = 1\nand b = 2", "a = 1 and b = 2"),
        ] {
            assert_eq!(parse(source).map(|tree| tree.to_string()), Ok(written.to_owned()));
        }
    }

    #[test]
    fn a_mistake_points_at_its_byte_and_says_what_was_meant() {
        for (source, at, part) in [
            ("", 0, "empty"),
            ("eventName", 9, "expected an operator"),
            ("eventName =", 11, "expected a value behind `=`, found the end"),
            ("eventName = and a = 1", 12, "a value is missing behind `=`"),
            ("eventName = DescribeX", 12, "\"DescribeX\""),
            ("eventName startswith \"x\"", 10, "`starts_with`"),
            ("eventName strts_with \"x\"", 10, "`starts_with`"),
            ("eventName equals \"x\"", 10, "`=`"),
            ("eventName banana \"x\"", 10, "expected an operator"),
            ("evenName = \"x\"", 0, "`eventName`"),
            ("a = 1 and sourceIpAddress exists", 10, "`sourceIPAddress`"),
            ("event_type = \"cloudtrial\"", 0, "\"cloudtrail\""),
            ("event_type in (\"guardduty\", 1)", 0, "no event type 1"),
            ("event_type.x = 1", 0, "no fields"),
            ("envelope.acount = 1", 0, "`account`"),
            ("envelope = 1", 0, "name of a field"),
            ("a = 1 AND b = 2", 6, "write `and`"),
            ("NOT a = 1", 0, "write `not`"),
            ("exists a", 0, "behind the field"),
            ("a = 1 b = 2", 6, "`and`, `or` or the end"),
            ("(a = 1", 6, "closing bracket"),
            ("(a = 1 b", 7, "`and`, `or` or `)`"),
            ("a = 1)", 5, "never opened"),
            ("a = (1, 2)", 4, "behind `in`"),
            ("a in \"x\"", 5, "in (\"x\")"),
            ("a in \"10.0.0.0/8\"", 5, "`cidr`"),
            ("a in (1 2)", 8, "`)` or `,`"),
            ("a in ()", 6, "expected a value"),
            ("a starts_with 5", 14, "\"5\""),
            ("a like \"x\"", 7, "no `*`"),
            ("a like (\"x*\", \"**\")", 14, "two stars"),
            ("a cidr \"10.1.0.0/8\"", 7, "\"10.0.0.0/8\""),
            ("a > null", 4, "numbers and texts"),
            ("a not = 1", 6, "before the field"),
            ("a not has (b = 1)", 6, "before the field"),
            ("a is not null", 5, "`!= null`"),
            ("a is string", 5, "text, number, boolean, null, object"),
            ("items.0.x = 1", 6, "all its elements"),
            ("a. = 1", 3, "a name behind `.`"),
            ("null = 1", 0, "\"null\""),
            ("5 = a", 0, "expected a field"),
            ("a has b = 1", 6, "`(` behind `has`"),
        ] {
            let mistake = parse(source).expect_err(source);
            assert!(mistake.text.contains(part), "{source}: {}", mistake.text);
            assert_eq!(mistake.at, at, "{source}: {}", mistake.text);
        }
    }

    #[test]
    fn length_and_depth_have_their_limits() {
        let deep = |depth: usize| format!("{}a = 1{}", "(".repeat(depth), ")".repeat(depth));
        assert!(parse(&deep(DEEPEST)).is_ok());
        assert!(parse(&deep(DEEPEST + 1)).is_err_and(|mistake| mistake.text.contains("deep")));
        assert!(parse(&"not ".repeat(2_000)).is_err());
        let long = format!("a = \"{}\"", "x".repeat(LONGEST));
        assert!(parse(&long).is_err_and(|mistake| mistake.text.contains("longer")));
    }
}
