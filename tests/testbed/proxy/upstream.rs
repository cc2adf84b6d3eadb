//! One emulator. A connection for each call: on the loopback that costs little, and a cut leaves nothing behind.

use http_body_util::{BodyExt as _, Full};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use hyper::http::request::Parts;
use hyper::{Method, Request, Response, Uri};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;

use crate::AnyError;

/// An answer with its whole body.
pub type Answer = Response<Bytes>;

/// Where an emulator listens.
pub struct Upstream {
    authority: String,
    host: String,
    tls: Option<TlsConnector>,
}

impl Upstream {
    /// From `http://HOST:PORT` or `https://HOST:PORT`.
    pub fn new(url: &str, connector: TlsConnector) -> Result<Self, AnyError> {
        let uri: Uri = url.parse()?;
        let authority = uri.authority().ok_or("an upstream needs a host and a port")?;
        let tls = (uri.scheme_str() == Some("https")).then_some(connector);
        Ok(Self {
            authority: authority.to_string(),
            host: authority.host().to_owned(),
            tls,
        })
    }

    /// Passes a request on as it came: the signature covers its headers, the host among them.
    pub async fn send(&self, parts: Parts, body: Bytes) -> Result<Answer, AnyError> {
        let request = Request::from_parts(parts, Full::new(body));
        let stream = TcpStream::connect(&self.authority).await?;
        stream.set_nodelay(true)?;
        match &self.tls {
            None => exchange(stream, request).await,
            Some(tls) => {
                let name = ServerName::try_from(self.host.clone())?;
                exchange(tls.connect(name, stream).await?, request).await
            }
        }
    }

    /// A question of the proxy's own, as the root of `account`: neither emulator checks a root's signature.
    pub async fn ask(
        &self,
        account: &str,
        region: &str,
        service: &str,
        form: &[(String, String)],
    ) -> Result<String, AnyError> {
        let authorization = format!(
            "AWS4-HMAC-SHA256 Credential={account}/20260101/{region}/{service}/aws4_request, SignedHeaders=host, Signature=0"
        );
        let request = Request::builder()
            .method(Method::POST)
            .uri("/")
            .header(HOST, &self.authority)
            .header(AUTHORIZATION, authorization)
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(())?;
        let body = Bytes::from(crate::form::encode(form));
        let answer = self.send(request.into_parts().0, body).await?;
        Ok(String::from_utf8_lossy(answer.body()).into_owned())
    }
}

async fn exchange<S>(stream: S, request: Request<Full<Bytes>>) -> Result<Answer, AnyError>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    let (parts, body) = sender.send_request(request).await?.into_parts();
    Ok(Response::from_parts(parts, body.collect().await?.to_bytes()))
}
