//! `spb lsp`: a language server for workflow files, over a connection of messages. Knows the protocol; what a file
//! means is asked of `workflow::assist`, and what is wrong with it of the same checks as `spb validate`.

mod answer;
mod document;
mod report;
mod server;
mod uri;

use lsp_server::{Connection, Message, Response};

use server::Server;

/// How a conversation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// `shutdown`, then `exit`.
    Asked,
    /// `exit` without `shutdown`, or the client is gone.
    Abrupt,
}

/// Why a conversation could not be held.
#[derive(Debug, thiserror::Error)]
#[error("the editor's messages cannot be read: {0}")]
pub struct ProtocolError(String);

/// Talks over standard input and output until the client ends it.
///
/// # Errors
/// When what arrives is not the protocol.
pub fn stdio() -> Result<End, ProtocolError> {
    let (connection, threads) = Connection::stdio();
    let end = serve(&connection);
    drop(connection);
    threads.join().map_err(|error| ProtocolError(error.to_string()))?;
    Ok(end)
}

/// Answers messages until the client ends the conversation.
pub fn serve(connection: &Connection) -> End {
    let mut server = Server::default();
    loop {
        // What is typed quickly is checked once, when there is a pause.
        let message = match server.has_pending() {
            true => match connection.receiver.recv_timeout(server::PAUSE) {
                Ok(message) => Some(message),
                Err(error) if error.is_timeout() => None,
                Err(_) => return End::Abrupt,
            },
            false => match connection.receiver.recv() {
                Ok(message) => Some(message),
                Err(_) => return End::Abrupt,
            },
        };
        let answers = match message {
            None => server.publish(),
            Some(Message::Request(request)) => {
                let id = request.id.clone();
                match server.request(request) {
                    Ok(result) => vec![Response::new_ok(id, result).into()],
                    Err((code, message)) => vec![Response::new_err(id, code as i32, message).into()],
                }
            }
            Some(Message::Notification(notification)) => {
                if notification.method == "exit" {
                    return server.end();
                }
                server.notification(notification)
            }
            Some(Message::Response(_)) => Vec::new(),
        };
        for answer in answers {
            if connection.sender.send(answer).is_err() {
                return End::Abrupt;
            }
        }
    }
}

#[cfg(test)]
mod tests;
