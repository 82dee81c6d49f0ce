//! Clients that keep the protocol: tokio-tungstenite.

use futures_util::{SinkExt, StreamExt};
use pocketsocket::Server;
use tokio::net::TcpStream;
use tokio_tungstenite::{
    WebSocketStream, client_async,
    tungstenite::{
        Message,
        client::IntoClientRequest,
        handshake::client::Response,
        protocol::{CloseFrame, Role},
    },
};

use super::soon;

pub type Client = WebSocketStream<TcpStream>;

/// A socket on `/`.
pub async fn connect(server: &Server) -> Client {
    connect_to(server, "/", &[]).await.0
}

/// A socket on a path, with more headers, and the answer to its handshake.
pub async fn connect_to(
    server: &Server,
    path: &str,
    headers: &[(&'static str, &str)],
) -> (Client, Response) {
    let address = server.local_addr();
    let mut request = format!("ws://{address}{path}").into_client_request().unwrap();
    for (name, value) in headers {
        request.headers_mut().append(*name, value.parse().unwrap());
    }
    let stream = soon(TcpStream::connect(address)).await.unwrap();
    soon(client_async(request, stream)).await.unwrap()
}

/// A client on a connection whose handshake is done.
pub async fn over(stream: TcpStream) -> Client {
    WebSocketStream::from_raw_socket(stream, Role::Client, None).await
}

pub async fn send(client: &mut Client, text: &str) {
    soon(client.send(Message::text(text))).await.unwrap();
}

pub async fn send_binary(client: &mut Client, bytes: Vec<u8>) {
    soon(client.send(Message::binary(bytes))).await.unwrap();
}

/// The next message of any kind.
pub async fn receive(client: &mut Client) -> Message {
    soon(client.next()).await.expect("the connection has ended").unwrap()
}

/// The next text; pings and pongs are skipped.
pub async fn receive_text(client: &mut Client) -> String {
    loop {
        match receive(client).await {
            Message::Text(text) => return text.to_string(),
            Message::Ping(_) | Message::Pong(_) => {}
            other => panic!("wanted a text: {other:?}"),
        }
    }
}

/// The Close of the server, after whatever comes before; the answer to it is sent.
pub async fn receive_close(client: &mut Client) -> Option<CloseFrame> {
    loop {
        if let Message::Close(frame) = receive(client).await {
            // The engine sends its answer at the next turn; the server then ends the connection.
            while let Some(Ok(_)) = soon(client.next()).await {}
            return frame;
        }
    }
}

/// Sends a Close and waits for the answer.
pub async fn close(client: &mut Client, frame: Option<CloseFrame>) -> Option<CloseFrame> {
    soon(client.send(Message::Close(frame))).await.unwrap();
    receive_close(client).await
}
