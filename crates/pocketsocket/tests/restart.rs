//! A server that is started and stopped again and again leaves no thread and no file behind.
//!
//! Alone in its file: it counts what its process holds.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use std::{fs, time::Duration};

use support::{
    Rig,
    client::{connect, receive_text, send},
    config, until,
};

fn count(what: &str) -> usize {
    fs::read_dir(format!("/proc/self/{what}")).unwrap().count()
}

async fn cycle() {
    let mut rig = Rig::echoing(config());
    let mut client = connect(&rig.server).await;
    send(&mut client, "hello").await;
    assert_eq!(receive_text(&mut client).await, "hello");
    rig.next().await;
    rig.shutdown(Duration::ZERO).await;
}

#[tokio::test]
async fn starts_and_stops_leave_no_thread_and_no_file_behind() {
    // `npm run ready:long` asks for a thousand.
    let restarts = std::env::var("RESTARTS").map_or(50, |count| count.parse().unwrap());
    // The first brings what the test itself needs.
    cycle().await;
    let (threads, files) = (count("task"), count("fd"));
    for _ in 0..restarts {
        cycle().await;
    }
    until(|| count("task") <= threads && count("fd") <= files).await;
}
