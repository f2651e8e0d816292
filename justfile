# Short names for what cargo and `cargo xtask` do; nothing here is more than one command.

# List the recipes.
default:
    @just --list

# Run scenarios: `just run scenarios/quickstart.toml --seed 7`.
run *ARGS:
    cargo run --release -- run {{ARGS}}

# Run every test in both worlds; builds bitcoind and electrs the first time.
test *ARGS:
    cargo xtask test {{ARGS}}

# Run the tests that need a real bitcoind: `just regtest quickstart`.
regtest *ARGS:
    cargo xtask test --world regtest {{ARGS}}

# Write the expected traces anew; look at the difference before it is committed.
bless *ARGS:
    cargo run --release -- bless {{ARGS}}

# Measure: `just bench --bench lightning`.
bench *ARGS:
    cargo bench --package lockstep-benches {{ARGS}}

# Format, then lint with warnings denied.
lint:
    cargo fmt --all
    cargo clippy --workspace --all-targets -- -D warnings

# Build and open the API documentation.
docs:
    RUSTDOCFLAGS="--cfg madsim -D warnings" cargo doc --workspace --no-deps --open

# Check the dependencies: licences, sources, bans, duplicate versions.
deny:
    cargo xtask deny

# Say what this machine lacks.
doctor:
    cargo run --release -- doctor

# What CI runs.
pre-push:
    .ci/run
