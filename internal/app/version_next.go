//go:build journal_next

package app

// Version is that of a program that stands for the next version in the proofs of upgrades.
const Version = "0.1.0-next"
