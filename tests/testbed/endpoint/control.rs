//! What the bench asks of the endpoint itself: `GET /log`, and `POST /reset` with what [`Manner`] says.

use std::net::TcpStream;
use std::time::Duration;

use serde_json::{Value, json};

use crate::http::{self, Reply};
use crate::world::{Manner, World};

/// Answers one connection of the bench's, to its end.
pub fn serve(stream: TcpStream, world: &World) {
    drop(http::serve(stream, |asked| {
        let value = match asked.parts.uri.path() {
            "/log" => json!(world.log.all()),
            "/reset" => {
                let wanted: Value = serde_json::from_slice(&asked.body).unwrap_or_default();
                let number = |name: &str| wanted.get(name).and_then(Value::as_u64);
                world.reset(Manner {
                    delay: Duration::from_micros(number("delay_us").unwrap_or_default()),
                    interfaces: number("interfaces").and_then(|n| n.try_into().ok()).unwrap_or(1),
                });
                json!({})
            }
            _ => Value::Null,
        };
        let reply = Reply {
            status: if value.is_null() { 404 } else { 200 },
            content_type: "application/json",
            body: value.to_string(),
        };
        (reply, || ())
    }));
}
