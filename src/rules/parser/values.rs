//! What stands behind an operator.

use super::Parser;
use super::mistakes::{no_value, said};
use crate::rules::condition::{Literal, Scalar, Type};
use crate::rules::lexer::{Mistake, Token, TokenKind};
use crate::rules::network::Network;
use crate::rules::print::Quoted;

impl Parser<'_> {
    pub(super) fn literal(&mut self, operator: &str) -> Result<Literal, Mistake> {
        let Token { at, kind } = self.take();
        Ok(match kind {
            TokenKind::Text(text) => Literal::Text(text),
            TokenKind::Number(number) => Literal::Number(number),
            TokenKind::Word("true") => Literal::Bool(true),
            TokenKind::Word("false") => Literal::Bool(false),
            TokenKind::Word("null") => Literal::Null,
            TokenKind::Sign("(") => {
                return Err(Mistake::new(
                    at,
                    format!("one value stands behind `{operator}`; several stand behind `in`"),
                ));
            }
            kind => return Err(Mistake::new(at, no_value(&kind, operator))),
        })
    }

    pub(super) fn scalar(&mut self, operator: &str) -> Result<Scalar, Mistake> {
        let at = self.peek().at;
        match self.literal(operator)? {
            Literal::Text(text) => Ok(Scalar::Text(text)),
            Literal::Number(number) => Ok(Scalar::Number(number)),
            Literal::Bool(_) | Literal::Null => Err(Mistake::new(
                at,
                "only numbers and texts are less or greater than others",
            )),
        }
    }

    pub(super) fn literals(&mut self) -> Result<Vec<Literal>, Mistake> {
        if let TokenKind::Text(text) = &self.peek().kind {
            let hint = match Network::parse(text) {
                Ok(_) if text.contains('/') => "networks stand behind `cidr`".to_owned(),
                _ => format!("several values stand in brackets: in ({})", Quoted(text)),
            };
            return Err(self.mistake(hint));
        }
        self.expect("(", "behind `in`")?;
        self.list(|parser| parser.literal("in"))
    }

    /// Values up to the closing bracket.
    fn list<T>(&mut self, mut one: impl FnMut(&mut Self) -> Result<T, Mistake>) -> Result<Vec<T>, Mistake> {
        let mut values = vec![one(self)?];
        while self.takes(",") {
            values.push(one(self)?);
        }
        self.expect(")", "or `,` behind a value")?;
        Ok(values)
    }

    /// One text, or several in brackets.
    pub(super) fn each_text<T>(
        &mut self,
        operator: &str,
        make: impl Fn(&str) -> Result<T, String>,
    ) -> Result<Vec<T>, Mistake> {
        let one = |parser: &mut Self| {
            let Token { at, kind } = parser.take();
            match kind {
                TokenKind::Text(text) => make(&text).map_err(|reason| Mistake::new(at, reason)),
                TokenKind::Number(number) => Err(Mistake::new(
                    at,
                    format!("`{operator}` is about texts: write \"{number}\""),
                )),
                kind => Err(Mistake::new(at, no_value(&kind, operator))),
            }
        };
        if self.takes("(") {
            self.list(one)
        } else {
            Ok(vec![one(self)?])
        }
    }

    pub(super) fn kind(&mut self) -> Result<Type, Mistake> {
        let Token { at, kind } = self.take();
        let found = match kind {
            TokenKind::Word("not") => {
                return Err(Mistake::new(
                    at,
                    "`not` stands before the field; `is not null` is `!= null`",
                ));
            }
            TokenKind::Word(word) => Type::ALL.into_iter().find(|kind| kind.name() == word),
            _ => None,
        };
        let names = Type::ALL.map(Type::name).join(", ");
        found.ok_or_else(|| {
            Mistake::new(
                at,
                format!("expected a type behind `is` ({names}), found {}", said(&kind)),
            )
        })
    }
}
