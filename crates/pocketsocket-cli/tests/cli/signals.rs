//! How signals end the program, and what clients see of it.

use rustix::process::Signal;
use tokio_tungstenite::tungstenite::{Message, protocol::frame::coding::CloseCode};

use crate::{
    program::Folder,
    sockets::{connect, end, receive},
};

async fn drains(signal: Signal) {
    let mut program = Folder::new().serve(&[]);
    let address = program.address();
    let mut clients = [connect(&address, "/").await, connect(&address, "/").await];
    program.signal(signal);
    assert_eq!(program.line(), "Draining 2 sockets");
    for client in &mut clients {
        let Message::Close(Some(frame)) = receive(client).await else {
            panic!("the server goes away without a word");
        };
        assert_eq!(frame.code, CloseCode::Away);
        end(client).await;
    }
    assert_eq!(program.line(), "Stopped");
    assert_eq!(program.exit().code(), Some(0));
}

#[tokio::test]
async fn ctrl_c_drains() {
    drains(Signal::INT).await;
}

#[tokio::test]
async fn sigterm_drains() {
    drains(Signal::TERM).await;
}

#[test]
fn without_sockets_there_is_nothing_to_wait_for() {
    let mut program = Folder::new().serve(&[]);
    program.address();
    program.signal(Signal::INT);
    assert_eq!(program.line(), "Draining 0 sockets");
    assert_eq!(program.line(), "Stopped");
    assert_eq!(program.exit().code(), Some(0));
}

#[tokio::test]
async fn the_second_signal_does_not_wait() {
    let mut program = Folder::new().serve(&[]);
    let address = program.address();
    // Not read from: it never answers the Close, so that the server would wait for it.
    let _silent = connect(&address, "/").await;
    program.signal(Signal::INT);
    assert_eq!(program.line(), "Draining 1 socket");
    program.signal(Signal::TERM);
    assert_eq!(program.exit().code(), Some(130));
}
