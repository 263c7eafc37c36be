//! The command `ribbon`.

fn main() -> std::process::ExitCode {
    hyperribbon::cli::main()
}
