//! Rules: what is done about which events, as the files of a team say.
pub mod condition;
mod evaluate;
mod lexer;
mod network;
mod parser;
mod pattern;
mod print;
mod wildcard;
mod words;
