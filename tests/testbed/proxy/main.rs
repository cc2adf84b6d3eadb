//! The proxy between the function and the emulators of the test bed.
//!
//! It records every call, judges calls of EC2 and Auto Scaling by the caller's policies, refuses what AWS refuses and the
//! emulators accept, and can lose, refuse, throttle, delay or cut calls as a test asks (`/_proxy/rules`).
//! The way of a call is in `way.rs`.

mod answer;
mod auto_scaling;
mod call;
mod control;
mod demands;
mod ec2;
mod facts;
mod form;
mod instance_attribute;
mod judge;
mod network_acl;
mod network_interface;
mod record;
mod rules;
mod sessions;
mod sns;
mod tls;
mod upstream;
mod way;
mod xml;

use std::io::Write as _;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::Arc;

use clap::Parser;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::upstream::Upstream;
use crate::way::Proxy;

/// Any failure to start.
pub type AnyError = Box<dyn std::error::Error + Send + Sync>;

/// Listens on a free port of 127.0.0.1 with TLS and prints it as one line of JSON.
#[derive(Parser)]
struct Arguments {
    /// The certificate to show (PEM).
    #[arg(long)]
    cert: PathBuf,
    /// Its key (PEM).
    #[arg(long)]
    key: PathBuf,
    /// The authority that signed the emulator's certificate (PEM).
    #[arg(long)]
    ca: PathBuf,
    /// The emulator of everything but EC2 and Auto Scaling, e.g. `https://127.0.0.1:4566`.
    #[arg(long)]
    aws: String,
    /// The emulator of EC2 and Auto Scaling, e.g. `http://127.0.0.1:5001`.
    #[arg(long)]
    ec2: String,
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> Result<(), AnyError> {
    let arguments = Arguments::parse();
    let acceptor = tls::acceptor(&arguments.cert, &arguments.key)?;
    let connector = tls::connector(&arguments.ca)?;
    let proxy = Arc::new(Proxy::new(
        Upstream::new(&arguments.aws, connector.clone())?,
        Upstream::new(&arguments.ec2, connector)?,
    ));
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let mut out = std::io::stdout();
    writeln!(out, "{{\"port\":{}}}", listener.local_addr()?.port())?;
    out.flush()?;
    loop {
        let (stream, _) = listener.accept().await?;
        tokio::spawn(serve(stream, acceptor.clone(), proxy.clone()));
    }
}

/// One connection; its end, however it comes, is the client's business.
async fn serve(stream: tokio::net::TcpStream, acceptor: TlsAcceptor, proxy: Arc<Proxy>) {
    let port = stream.peer_addr().map_or(0, |peer| peer.port());
    let Ok(stream) = acceptor.accept(stream).await else {
        return;
    };
    let service = service_fn(move |request| {
        let proxy = proxy.clone();
        async move { proxy.handle(request, port).await }
    });
    drop(
        http1::Builder::new()
            .serve_connection(TokioIo::new(stream), service)
            .await,
    );
}
