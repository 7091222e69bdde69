//! One client's connection.

use std::io::{self, BufReader, Write};
use std::net::{Shutdown, TcpStream};

use super::fault::Effect;
use super::http1::Message;
use super::{Seen, State};

/// Serves a client until one of the two hangs up.
pub(super) fn serve(client: TcpStream, state: &State) {
    // The client sees a cut connection, which is all that there is to say.
    let _ = serve_all(&client, state);
    let _ = client.shutdown(Shutdown::Both);
}

fn serve_all(mut client: &TcpStream, state: &State) -> io::Result<()> {
    client.set_nodelay(true)?;
    let mut from_client = BufReader::new(client);
    while let Some(request) = Message::request(&mut from_client)? {
        let (method, path) = request.target()?;
        let (delay, effect) = state.plan().meet(&method, &path);
        std::thread::sleep(delay);
        let answer = answer(&request, &method, effect, state);
        let status = answer.as_ref().ok().and_then(|reply| reply.status);
        state.note(Seen { method, path, status });
        let reply = answer?;
        client.write_all(&reply.bytes)?;
        if reply.cut {
            return Ok(());
        }
    }
    Ok(())
}

/// What a client is sent.
struct Reply {
    bytes: Vec<u8>,
    /// The connection is cut behind it.
    cut: bool,
    /// What the server said.
    status: Option<u16>,
}

fn answer(request: &Message, method: &str, effect: Option<Effect>, state: &State) -> io::Result<Reply> {
    match &effect {
        Some(Effect::Refuse(status)) => return Ok(Reply { bytes: bare(*status), cut: false, status: None }),
        Some(Effect::Cut) => return Ok(Reply { bytes: Vec::new(), cut: true, status: None }),
        Some(Effect::Delay(time)) => std::thread::sleep(*time),
        Some(Effect::Hold(pause)) => pause.hold(),
        _ => {}
    }
    let said = forward(request, method, state)?;
    let status = Some(said.status()?);
    let whole = |said: Message| [said.head, said.body].concat();
    Ok(match effect {
        Some(Effect::LoseReply) => Reply { bytes: Vec::new(), cut: true, status },
        Some(Effect::SpoilReply(with)) => Reply { bytes: bare(with), cut: false, status },
        Some(Effect::CutReply(bytes)) if bytes < said.body.len() => {
            Reply { bytes: [&said.head, &said.body[..bytes]].concat(), cut: true, status }
        }
        Some(Effect::CutReply(_)) => Reply { bytes: Vec::new(), cut: true, status },
        _ => Reply { bytes: whole(said), cut: false, status },
    })
}

/// A connection for each request, so that none is left over from before the server was restarted.
fn forward(request: &Message, method: &str, state: &State) -> io::Result<Message> {
    let mut server = TcpStream::connect(&state.target)?;
    server.set_nodelay(true)?;
    server.write_all(&request.head)?;
    server.write_all(&request.body)?;
    Message::answer(&mut BufReader::new(server), method)
}

fn bare(status: u16) -> Vec<u8> {
    format!("HTTP/1.1 {status} Injected\r\ncontent-length: 0\r\n\r\n").into_bytes()
}
