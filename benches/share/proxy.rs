//! A proxy that holds back what passes through it: a line with latency and without limit.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::linux::net::TcpStreamExt;
use std::sync::mpsc::channel;
use std::thread;
use std::time::{Duration, Instant};

/// Starts a proxy before a port of this machine that delays both directions; its own port.
pub fn start(server: u16, delay: Duration) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let Ok(server) = TcpStream::connect(("127.0.0.1", server)) else { continue };
            for stream in [&client, &server] {
                stream.set_nodelay(true).unwrap();
            }
            forward(client.try_clone().unwrap(), server.try_clone().unwrap(), delay);
            forward(server, client, delay);
        }
    });
    port
}

/// Passes on what comes, each piece `delay` after it came: a piece does not wait for the one before.
fn forward(mut from: TcpStream, mut to: TcpStream, delay: Duration) {
    let (tell, pieces) = channel::<(Instant, Vec<u8>)>();
    thread::spawn(move || {
        let mut piece = vec![0; 64 << 10];
        // A server that writes its answer in two pieces sends the second when the first is acknowledged (Nagle), which the
        // system would put off for 40 ms.
        while from.set_quickack(true).is_ok()
            && let Ok(read) = from.read(&mut piece)
            && read > 0
            && tell.send((Instant::now() + delay, piece[..read].to_vec())).is_ok()
        {}
    });
    thread::spawn(move || {
        for (due, piece) in pieces {
            thread::sleep(due.saturating_duration_since(Instant::now()));
            if to.write_all(&piece).is_err() {
                return;
            }
        }
        let _ = to.shutdown(Shutdown::Write);
    });
}
