//! A shell that outlives us by a moment: when this process ends, however it ends, the shell kills the server and
//! removes its directories. It learns of our end by a pipe, which the kernel closes even after `kill -9`.

use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};

use crate::scratch::error::ScratchError;

/// Reads `server PID` (who is to be killed) and `done` (nothing is left to do); the end of input means that we are
/// gone. `rm` is repeated because a dying process may still write.
const SCRIPT: &str = r#"
trap '' INT TERM HUP
pid=
while read -r word value; do
    case $word in
        server) pid=$value ;;
        done) exit 0 ;;
    esac
done
if [ -n "$pid" ] && kill -QUIT "$pid" 2>/dev/null; then
    turn=0
    while kill -0 "$pid" 2>/dev/null && [ "$turn" -lt 50 ]; do
        sleep 0.1
        turn=$((turn + 1))
    done
    kill -KILL "$pid" 2>/dev/null
fi
for turn in 1 2 3 4 5; do
    rm -rf -- "$@" 2>/dev/null && exit 0
    sleep 0.2
done
"#;

/// The shell and our end of its pipe.
pub(super) struct Watchdog {
    shell: Child,
    pipe: Option<ChildStdin>,
}

impl Watchdog {
    /// Starts the shell; from now on the directories are removed when this process ends.
    pub(super) fn start(directories: &[&Path]) -> Result<Self, ScratchError> {
        let program = PathBuf::from("/bin/sh");
        let mut command = Command::new(&program);
        command.args(["-c", SCRIPT, "rowback-watchdog"]).args(directories);
        // A group of its own: Ctrl-C on the terminal is for us to handle, not for the shell.
        command.process_group(0).current_dir("/").env_clear().env("PATH", "/usr/bin:/bin");
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut shell = command.spawn().map_err(|source| ScratchError::Spawn { program, source })?;
        let pipe = shell.stdin.take();
        Ok(Self { shell, pipe })
    }

    /// Tells whom to kill when we are gone: the last one told counts.
    pub(super) fn watch(&mut self, pid: u32) {
        self.tell(&format!("server {pid}\n"));
    }

    /// All is cleaned up; the shell ends without doing anything.
    pub(super) fn dismiss(&mut self) {
        if self.pipe.is_some() {
            self.tell("done\n");
            self.pipe = None;
            self.shell.wait().ok();
        }
    }

    fn tell(&mut self, line: &str) {
        if let Some(pipe) = &mut self.pipe {
            // A shell that somebody killed cannot be told; then the next run sweeps.
            pipe.write_all(line.as_bytes()).and_then(|()| pipe.flush()).ok();
        }
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        self.dismiss();
    }
}
