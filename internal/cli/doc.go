// Package cli is the command line: one file per command, each a thin client of a node's API or of the parts of this very binary.
// It decides nothing. What people read comes in English or Chinese, what programs read comes as JSON with --json,
// and every way a command can end has its exit code (docs/cli.md).
package cli
