//! One connection over memory, for tests and fuzzing: whatever a caller sends, the front must end it
//! in bounded time and hold nothing afterwards.

use crate::answers::{framed, send};
use crate::connection::connection;
use crate::limits::Limits;
use crate::peer::Peer;
use crate::shared::{Answer, Shared};
use std::collections::HashSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{duplex, AsyncReadExt, AsyncWriteExt};
use tokio::runtime::Builder;
use tokio::task::yield_now;
use tokio::time::timeout;

/// The method whose calls are handed over, and echoed.
pub const HANDED: &str = "/test.Trial/Echo";
/// The largest message that is.
pub const MESSAGE: usize = 1_000;

const PATIENCE: Duration = Duration::from_secs(20);
const PIPE: usize = 64 << 10;

/// What a trial found.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// The messages that were handed over.
    pub messages: Vec<Vec<u8>>,
    /// What the caller got.
    pub answers: Vec<u8>,
}

/// Sends `parts` one after the other, answers what is handed over, and hangs up.
///
/// # Errors
/// Says what is held after the connection's end, or that it does not end.
pub fn run(parts: &[&[u8]]) -> Result<Outcome, String> {
    let limits = Limits { message: MESSAGE, ..Limits::default() };
    let handed = HashSet::from([HANDED.to_owned()]);
    let nowhere = PathBuf::from("/nonexistent/upstream");
    let shared = Arc::new(Shared::new(limits, handed, nowhere, "secret".to_owned()));
    let runtime = Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| error.to_string())?;
    let outcome = runtime.block_on(async { timeout(PATIENCE, talk(&shared, parts)).await });
    let outcome = outcome.map_err(|_| "the connection does not end".to_owned())??;
    drop(runtime);
    let counts = [&shared.calls, &shared.handed, &shared.received, &shared.unsent];
    let held: Vec<usize> = counts.iter().map(|count| count.load(Relaxed)).collect();
    if held.iter().any(|count| *count > 0) {
        return Err(format!("calls, handed, received, unsent: {held:?}"));
    }
    Ok(outcome)
}

async fn talk(shared: &Arc<Shared>, parts: &[&[u8]]) -> Result<Outcome, String> {
    let (client, server) = duplex(PIPE);
    let peer = Arc::new(Peer::new(1, 0, SocketAddr::from((Ipv4Addr::LOCALHOST, 1))));
    let serving = tokio::spawn(connection(shared.clone(), server, None, peer));
    let (mut reader, mut writer) = tokio::io::split(client);
    let reading = tokio::spawn(async move {
        let mut answers = Vec::new();
        let _ = reader.read_to_end(&mut answers).await;
        answers
    });
    let mut outcome = Outcome::default();
    for part in parts {
        if writer.write_all(part).await.is_err() {
            break;
        }
        settle(shared, &mut outcome).await;
    }
    let _ = writer.shutdown().await;
    serving.await.map_err(|error| error.to_string())?;
    settle(shared, &mut outcome).await;
    outcome.answers = reading.await.map_err(|error| error.to_string())?;
    Ok(outcome)
}

/// Lets the connection go as far as it can, and echoes what it handed over.
async fn settle(shared: &Arc<Shared>, outcome: &mut Outcome) {
    for _ in 0..8 {
        yield_now().await;
        for call in shared.take_calls(usize::MAX, Duration::ZERO) {
            outcome.messages.push(call.message.to_vec());
            if let (Some(reply), Some(framed)) =
                (call.take_reply(), framed(&call.message, call.compressed))
            {
                let peer = call.peer.clone();
                send(shared, Answer::Message { reply, peer, framed, encoding: None });
            }
        }
    }
}
