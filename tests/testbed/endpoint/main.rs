//! An endpoint of AWS that answers at once, or after a set time, for measuring what the function itself takes.
//!
//! It knows what containing one IAM user and one instance takes, keeps as much state as read-backs need, and answers anything
//! else with an error that the bench shows. A thread for each connection and blocking calls: nothing of its own stands between
//! the arrival of a call and its answer. Each service has an address of its own, as on AWS, in plain HTTP and in TLS.

#[path = "../proxy/call.rs"]
#[allow(dead_code, reason = "the proxy uses the rest")]
mod call;
mod control;
mod ec2;
#[path = "../proxy/form.rs"]
#[allow(dead_code, reason = "the proxy uses the rest")]
mod form;
mod http;
mod iam;
mod journal;
mod log;
mod reply;
#[path = "../proxy/tls.rs"]
#[allow(dead_code, reason = "the proxy uses the rest")]
mod tls;
mod world;
#[path = "../proxy/xml.rs"]
#[allow(dead_code, reason = "the proxy uses the rest")]
mod xml;

use std::io::Write as _;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;

use clap::Parser;
use serde_json::{Map, Value, json};
use tokio_rustls::rustls::{ServerConfig, ServerConnection, StreamOwned};

use crate::world::World;

/// Any failure to start.
pub type AnyError = Box<dyn std::error::Error + Send + Sync>;

/// The services, by the ends of the variables `AWS_ENDPOINT_URL_...`. The certificate must be good for 127.0.0.1 and as many
/// addresses after it.
const SERVICES: &[&str] = &[
    "STS",
    "DYNAMODB",
    "IAM",
    "SNS",
    "SQS",
    "EC2",
    "AUTO_SCALING",
    "LAMBDA",
    "CLOUDTRAIL",
];

/// Listens on free ports of loopback addresses and prints them as one line of JSON.
#[derive(Parser)]
struct Arguments {
    /// The certificate to show (PEM).
    #[arg(long)]
    cert: PathBuf,
    /// Its key (PEM).
    #[arg(long)]
    key: PathBuf,
}

fn main() -> Result<(), AnyError> {
    let arguments = Arguments::parse();
    let config = tls::acceptor(&arguments.cert, &arguments.key)?.config().clone();
    // Seeds the random generator, which takes some 20 ms: not in the first handshake that is measured.
    aws_lc_rs::rand::fill(&mut [0; 1]).map_err(|_| "there are no random numbers")?;
    let world = Arc::new(World::default());
    let mut addresses = Map::new();
    for (scheme, config) in [("http", None), ("https", Some(config))] {
        let mut urls = Map::new();
        for (last, service) in (2..).zip(SERVICES) {
            let listener = TcpListener::bind((Ipv4Addr::new(127, 0, 0, last), 0))?;
            urls.insert(
                (*service).to_owned(),
                json!(format!("{scheme}://{}", listener.local_addr()?)),
            );
            let (world, config) = (Arc::clone(&world), config.clone());
            thread::spawn(move || accept(&listener, service, config.as_ref(), &world));
        }
        addresses.insert(scheme.to_owned(), Value::Object(urls));
    }
    let control = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    addresses.insert("control".to_owned(), json!(control.local_addr()?.port()));
    let mut out = std::io::stdout();
    writeln!(out, "{}", Value::Object(addresses))?;
    out.flush()?;
    for stream in control.incoming() {
        control::serve(stream?, &world);
    }
    Ok(())
}

/// One service's address.
fn accept(listener: &TcpListener, service: &'static str, config: Option<&Arc<ServerConfig>>, world: &Arc<World>) {
    for stream in listener.incoming().flatten() {
        let (world, config) = (Arc::clone(world), config.cloned());
        thread::spawn(move || drop(serve(stream, service, config, &world)));
    }
}

/// One connection; its end, however it comes, is the client's business.
fn serve(
    stream: TcpStream,
    service: &'static str,
    config: Option<Arc<ServerConfig>>,
    world: &World,
) -> Result<(), AnyError> {
    let connection = world.log.connected(service);
    stream.set_nodelay(true)?;
    match config {
        None => http::serve(stream, |request| world.answer(request, connection)),
        Some(config) => {
            let stream = StreamOwned::new(ServerConnection::new(config)?, stream);
            http::serve(stream, |request| world.answer(request, connection))
        }
    }
}
