//! Servers that tests start for themselves, each with files, a port and secrets of its own.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::scratch::wait_until;
use crate::skip::skipped;

/// A running server; ends with the test.
pub struct Server {
    child: Child,
    folder: tempfile::TempDir,
    /// What pipeline.yaml says of it: the lines below `share:`, indented.
    pub share: String,
    /// What its user has to set.
    pub variables: Vec<(&'static str, String)>,
    /// What nobody else may learn of that.
    pub secret: String,
}

impl Server {
    /// Where its files are.
    pub fn files(&self) -> PathBuf {
        self.folder.path().join("files")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// S3: s3s-fs, which setup/servers.sh installs; the fast one, if it is there.
pub fn s3() -> Option<Server> {
    let cache = std::env::var_os("RIBBON_CACHE").map(PathBuf::from).or_else(|| {
        let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
        Some(cache.or_else(|| Some(std::env::home_dir()?.join(".cache")))?.join("hyperribbon"))
    })?;
    let builds = ["servers/release/bin/s3s-fs", "servers/bin/s3s-fs"].map(|path| cache.join(path));
    let program = installed(builds.iter().find(|path| path.exists()).unwrap_or(&builds[1]), "S3")?;
    let (folder, port) = (folder(), free_port());
    fs::create_dir(folder.path().join("files/bucket")).unwrap();
    let secret = format!("secret-{port}");
    let mut command = Command::new(program);
    command.args(["--host", "127.0.0.1", "--port", &port.to_string(), "--access-key", "ribbon"]);
    command.args(["--secret-key", &secret]).arg(folder.path().join("files"));
    Some(Server {
        share: format!("  url: s3://bucket/paper\n  endpoint: http://127.0.0.1:{port}\n"),
        variables: vec![
            ("AWS_ACCESS_KEY_ID", "ribbon".to_owned()),
            ("AWS_SECRET_ACCESS_KEY", secret.clone()),
        ],
        secret,
        child: start(command, port),
        folder,
    })
}

/// WebDAV: nginx with its module for PROPFIND, and a password.
pub fn webdav() -> Option<Server> {
    let program = installed(Path::new("/usr/sbin/nginx"), "WebDAV")?;
    let module = installed(Path::new("/usr/lib/nginx/modules/ngx_http_dav_ext_module.so"), "WebDAV")?;
    let (folder, port) = (folder(), free_port());
    let home = folder.path();
    let secret = format!("secret-{port}");
    fs::write(home.join("users"), format!("ada:{{PLAIN}}{secret}\n")).unwrap();
    let user = if user() == "root" { "user root;" } else { "" };
    let (module, home) = (module.display(), home.display());
    let configuration = format!(
        "load_module {module};\n{user} daemon off; pid {home}/pid; error_log {home}/error.log;\n\
         events {{}}\n\
         http {{\n access_log off; client_body_temp_path {home}/body; proxy_temp_path {home}/proxy;\n\
         fastcgi_temp_path {home}/fast; uwsgi_temp_path {home}/uwsgi; scgi_temp_path {home}/scgi;\n\
         server {{\n listen 127.0.0.1:{port}; root {home}/files; client_max_body_size 0;\n\
         auth_basic share; auth_basic_user_file {home}/users;\n\
         location / {{ dav_methods PUT DELETE MKCOL COPY MOVE; dav_ext_methods PROPFIND OPTIONS; }}\n}}\n}}\n"
    );
    fs::write(folder.path().join("nginx.conf"), configuration).unwrap();
    let mut command = Command::new(program);
    command.arg("-c").arg(folder.path().join("nginx.conf")).arg("-e").arg(folder.path().join("error.log"));
    Some(Server {
        share: format!("  url: dav://127.0.0.1:{port}/paper\n"),
        variables: vec![("RIBBON_SHARE_USER", "ada".to_owned()), ("RIBBON_SHARE_PASSWORD", secret.clone())],
        secret,
        child: start(command, port),
        folder,
    })
}

/// SFTP: sshd, with a key for the user who runs the tests. `ssh` is told of it by a program of that name, first in PATH.
pub fn sftp() -> Option<Server> {
    let program = installed(Path::new("/usr/sbin/sshd"), "SFTP")?;
    let ssh = installed(Path::new("/usr/bin/ssh"), "SFTP")?;
    if user() == "root" {
        fs::create_dir_all("/run/sshd").unwrap();
    }
    let (folder, port) = (folder(), free_port());
    let home = folder.path().display().to_string();
    for name in ["host", "user"] {
        let mut keygen = Command::new("ssh-keygen");
        keygen.args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(folder.path().join(name));
        assert!(keygen.status().unwrap().success());
    }
    let write = |name: &str, text: String| fs::write(folder.path().join(name), text).unwrap();
    write(
        "sshd_config",
        format!(
            "Port {port}\nListenAddress 127.0.0.1\nHostKey {home}/host\nPidFile {home}/pid\nUsePAM no\n\
             AuthorizedKeysFile {home}/user.pub\nStrictModes no\nSubsystem sftp internal-sftp\n"
        ),
    );
    let host = fs::read_to_string(folder.path().join("host.pub")).unwrap();
    write("known_hosts", format!("[127.0.0.1]:{port} {host}"));
    write("ssh_config", format!("IdentityFile {home}/user\nUserKnownHostsFile {home}/known_hosts\n"));
    fs::create_dir(folder.path().join("bin")).unwrap();
    write("bin/ssh", format!("#!/bin/sh\nexec {} -F {home}/ssh_config \"$@\"\n", ssh.display()));
    fs::set_permissions(folder.path().join("bin/ssh"), fs::Permissions::from_mode(0o755)).unwrap();
    let user = user();
    let mut command = Command::new(program);
    command.arg("-D").arg("-e").arg("-f").arg(folder.path().join("sshd_config"));
    Some(Server {
        share: format!("  url: sftp://{user}@127.0.0.1:{port}{home}/files/paper\n"),
        variables: vec![("PATH", format!("{home}/bin:{}", std::env::var("PATH").unwrap()))],
        // A line of the key, after the one that every key of its kind begins with.
        secret: fs::read_to_string(folder.path().join("user")).unwrap().lines().nth(2).unwrap().to_owned(),
        child: start(command, port),
        folder,
    })
}

/// The program that reaches servers.
pub fn remote() -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_BIN_EXE_ribbon")).with_file_name("ribbon-remote");
    there(&path, "any server", "make share")
}

/// A server's program, if it can be reached as well.
fn installed(path: &Path, what: &str) -> Option<PathBuf> {
    remote().and_then(|_| there(path, what, "setup/servers.sh"))
}

/// A program, or a loud word that something cannot be tested here.
fn there(path: &Path, what: &str, remedy: &str) -> Option<PathBuf> {
    if !path.exists() {
        skipped(&format!("shares over {what} are not tested: there is no {} ({remedy})", path.display()));
    }
    path.exists().then(|| path.to_owned())
}

fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("files")).unwrap();
    folder
}

/// Who runs the tests.
fn user() -> String {
    let out = Command::new("id").arg("-un").output().unwrap();
    String::from_utf8(out.stdout).unwrap().trim().to_owned()
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn start(mut command: Command, port: u16) -> Child {
    let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    wait_until("the server listens", || TcpStream::connect(("127.0.0.1", port)).is_ok());
    child
}
