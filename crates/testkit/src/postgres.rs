//! A PostgreSQL cluster of a test's own: made in a temporary directory, gone with the value.

use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use std::{env, fs, thread};

use postgres::{Client, Config, NoTls};

const START_SECONDS_MAX: u64 = 60;
const USER: &str = "segtide";
const PASSWORD: &str = "a secret of the tests";

/// A running cluster on a loopback port, with a database of the user's own name. Durable as a real one is: `fsync` is on,
/// so that a crash can be tested. Dropping it stops the server and removes its files.
#[derive(Debug)]
pub struct Postgres {
    dir: tempfile::TempDir,
    bin: PathBuf,
    owner: Option<(u32, u32)>,
    port: u16,
    server: Option<Child>,
}

impl Postgres {
    /// Makes a cluster and starts it; takes a few seconds.
    ///
    /// The programs are looked for in `PATH`, then below `/usr/lib/postgresql`. The server refuses to run as root, so root
    /// runs it as `postgres` or `nobody`.
    pub fn start() -> Self {
        let dir = tempfile::Builder::new().prefix("segtide-postgres-").tempdir().unwrap();
        let owner = unprivileged(dir.path());
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o700)).unwrap();
        let secret = dir.path().join("secret");
        fs::write(&secret, PASSWORD).unwrap();
        if let Some((uid, gid)) = owner {
            for path in [dir.path(), &secret] {
                chown(path, Some(uid), Some(gid)).unwrap();
            }
        }
        let mut cluster = Self { bin: programs(), owner, port: free_port(), server: None, dir };

        let mut initdb = cluster.command("initdb");
        initdb.arg("--pgdata").arg(cluster.data()).arg("--pwfile").arg(&secret);
        initdb.args(["--username", USER, "--encoding=UTF8", "--locale=C", "--no-sync"]);
        initdb.args(["--auth-host=scram-sha-256", "--auth-local=trust"]);
        let made = initdb.output().unwrap();
        assert!(made.status.success(), "initdb failed: {}", String::from_utf8_lossy(&made.stderr));

        cluster.launch();
        let mut client = cluster.config().dbname("postgres").connect(NoTls).unwrap();
        client.batch_execute(&format!("CREATE DATABASE {USER}")).unwrap();
        cluster
    }

    /// How to connect over TCP, password included.
    pub fn config(&self) -> Config {
        let mut config = Config::new();
        config.host("127.0.0.1").port(self.port).user(USER).password(PASSWORD).dbname(USER);
        config.connect_timeout(Duration::from_secs(10));
        config
    }

    /// The port on loopback.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The superuser's name, which is also the database's.
    pub fn user(&self) -> &'static str {
        USER
    }

    /// The superuser's password.
    pub fn password(&self) -> &'static str {
        PASSWORD
    }

    /// A new connection.
    pub fn connect(&self) -> Client {
        self.config().connect(NoTls).unwrap()
    }

    /// Stops the server as an administrator in a hurry would, which disconnects everyone, and starts it again.
    pub fn restart(&mut self) {
        self.stop("fast");
        self.launch();
    }

    /// Has the server speak TLS from its next start on, with a certificate and its key in PEM.
    pub fn use_certificate(&mut self, certificate: &str, key: &str) {
        for (name, text) in [("server.crt", certificate), ("server.key", key)] {
            let path = self.data().join(name);
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
            if let Some((uid, gid)) = self.owner {
                chown(&path, Some(uid), Some(gid)).unwrap();
            }
        }
        fs::write(self.data().join("postgresql.auto.conf"), "ssl = on\n").unwrap();
    }

    /// Kills the server as a crash would and leaves it down; [`Postgres::restart`] lets it recover.
    pub fn kill_9(&mut self) {
        if let Some(mut server) = self.server.take() {
            server.kill().unwrap();
            server.wait().unwrap();
        }
    }

    fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(self.bin.join(program));
        command.current_dir(self.dir.path()).stdin(Stdio::null()).env_remove("LC_ALL");
        if let Some((uid, gid)) = self.owner {
            command.uid(uid).gid(gid);
        }
        command
    }

    fn launch(&mut self) {
        let deadline = Instant::now() + Duration::from_secs(START_SECONDS_MAX);
        let log = self.dir.path().join("log");
        let mut last = String::new();
        while Instant::now() < deadline {
            match &mut self.server {
                // Backends of a killed server need a moment to leave its shared memory; until then a new one gives up.
                None => self.server = Some(self.spawn(&log)),
                Some(server) => {
                    if server.try_wait().unwrap().is_some() {
                        self.server = None;
                    } else {
                        match self.config().dbname("postgres").connect(NoTls) {
                            Ok(_) => return,
                            Err(error) => last = format!("{error:?}"),
                        }
                    }
                }
            }
            thread::sleep(Duration::from_millis(50));
        }
        panic!("PostgreSQL did not start: {last}\n{}", fs::read_to_string(&log).unwrap_or_default());
    }

    fn spawn(&self, log: &Path) -> Child {
        let mut server = self.command("postgres");
        server.arg("-D").arg(self.data()).arg("-k").arg(self.dir.path()).args(["-p", &self.port.to_string()]);
        for setting in [
            "listen_addresses=127.0.0.1",
            "max_connections=30",
            "shared_buffers=32MB",
            "fsync=on",
            "synchronous_commit=on",
            "max_wal_size=256MB",
            "autovacuum=off",
        ] {
            server.args(["-c", setting]);
        }
        server.stdout(Stdio::null()).stderr(fs::OpenOptions::new().create(true).append(true).open(log).unwrap());
        server.spawn().unwrap()
    }

    fn stop(&mut self, mode: &str) {
        let Some(mut server) = self.server.take() else { return };
        let asked = self.command("pg_ctl").args(["stop", "-m", mode, "-D"]).arg(self.data()).output();
        if !asked.is_ok_and(|output| output.status.success()) {
            server.kill().ok();
        }
        server.wait().ok();
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.stop("immediate");
    }
}

fn programs() -> PathBuf {
    let mut places: Vec<PathBuf> = env::split_paths(&env::var_os("PATH").unwrap_or_default()).collect();
    if let Ok(versions) = fs::read_dir("/usr/lib/postgresql") {
        places.extend(versions.filter_map(|version| Some(version.ok()?.path().join("bin"))));
    }
    places
        .into_iter()
        .find(|place| place.join("initdb").is_file() && place.join("postgres").is_file())
        .expect("PostgreSQL's server programs (initdb, postgres) are neither in PATH nor below /usr/lib/postgresql")
}

/// The user and group to run the server as, if this process runs as root: files it makes belong to root.
fn unprivileged(dir: &Path) -> Option<(u32, u32)> {
    if fs::metadata(dir).unwrap().uid() != 0 {
        return None;
    }
    let users = fs::read_to_string("/etc/passwd").unwrap();
    let find = |name: &str| {
        let line = users.lines().find(|line| line.split(':').next() == Some(name))?;
        let mut fields = line.split(':').skip(2);
        Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
    };
    Some(find("postgres").or_else(|| find("nobody")).expect("there is neither a user `postgres` nor a user `nobody`"))
}

fn free_port() -> u16 {
    TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port()
}
