//! What real WebSocket clients see of `--broadcast`, and what `--print` tells of them.

use futures_util::{SinkExt as _, StreamExt as _};
use tokio::{net::TcpStream, time::timeout};
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, connect_async,
    tungstenite::{
        Message,
        protocol::{CloseFrame, frame::coding::CloseCode},
    },
};

use crate::program::{Folder, PATIENCE, Program};

pub(crate) type Client = WebSocketStream<MaybeTlsStream<TcpStream>>;

pub(crate) async fn connect(address: &str, path: &str) -> Client {
    let connecting = connect_async(format!("ws://{address}{path}"));
    timeout(PATIENCE, connecting).await.expect("an answer in time").expect("a handshake").0
}

pub(crate) async fn receive(client: &mut Client) -> Message {
    let received = timeout(PATIENCE, client.next()).await.expect("a message in time");
    received.expect("an open socket").expect("a message")
}

/// Reads on until the server has cut the connection, as it does once both have closed.
pub(crate) async fn end(client: &mut Client) {
    let end = timeout(PATIENCE, client.next()).await.expect("an end in time");
    assert!(end.is_none(), "{end:?}");
}

/// The next printed line, without the uuid: that one apart.
fn printed(program: &Program) -> (String, String) {
    let line = program.line();
    let (uuid, event) = line.split_once(' ').expect("a uuid and an event");
    assert_eq!((uuid.len(), uuid.matches('-').count()), (36, 4), "{line}");
    (uuid.to_owned(), event.to_owned())
}

#[tokio::test]
async fn broadcast_relays_to_all_but_the_sender() {
    let program = Folder::new().serve(&["--broadcast", "--print"]);
    let address = program.address();
    let mut first = connect(&address, "/").await;
    let mut second = connect(&address, "/ws/").await;
    // Both are there before one speaks.
    let (one, two) = (printed(&program), printed(&program));
    assert!(one.1.starts_with("connect ") && two.1.starts_with("connect "), "{one:?} {two:?}");

    first.send(Message::text("to you")).await.unwrap();
    assert_eq!(receive(&mut second).await, Message::text("to you"));
    second.send(Message::binary([0, 255].as_slice())).await.unwrap();
    // Its own message would have come before the answer to it.
    assert_eq!(receive(&mut first).await, Message::binary([0, 255].as_slice()));
}

#[tokio::test]
async fn without_broadcast_nothing_is_relayed() {
    let program = Folder::new().serve(&["--print"]);
    let address = program.address();
    let mut first = connect(&address, "/").await;
    let mut second = connect(&address, "/").await;
    for _ in 0..2 {
        assert!(printed(&program).1.starts_with("connect "));
    }
    first.send(Message::text("to nobody")).await.unwrap();
    assert_eq!(printed(&program).1, "text 9 to nobody");
    // What was relayed would come before the answer to the Close.
    second.close(None).await.unwrap();
    assert!(matches!(receive(&mut second).await, Message::Close(_)));
}

#[tokio::test]
async fn print_tells_each_event_in_a_line_that_cannot_steer_a_terminal() {
    let program = Folder::new().serve(&["--print"]);
    let address = program.address();
    let mut client = connect(&address, "/ws/?room=1").await;
    let (uuid, event) = printed(&program);
    assert_eq!(event, "connect 127.0.0.1 /ws/?room=1");

    client.send(Message::text("a\x1b[2J\nb\\é")).await.unwrap();
    assert_eq!(printed(&program), (uuid.clone(), r"text 10 a\u{1b}[2J\nb\\é".to_owned()));
    client.send(Message::binary([1, 2, 3].as_slice())).await.unwrap();
    assert_eq!(printed(&program), (uuid.clone(), "binary 3".to_owned()));

    let frame = CloseFrame { code: CloseCode::Normal, reason: "bye\r\n".into() };
    client.close(Some(frame)).await.unwrap();
    assert!(matches!(receive(&mut client).await, Message::Close(_)));
    end(&mut client).await;
    assert_eq!(printed(&program), (uuid, r"close 1000 bye\r\n".to_owned()));
}
