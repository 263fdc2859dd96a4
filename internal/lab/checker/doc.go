// Package checker is the judge of a run: from what clients recorded, what the product says of itself and what lies in the databases at the end
// it concludes whether an acknowledged write was lost, a key had its effect twice, money was made or lost, or anybody wrote in an old ownership.
//
// It is pure: it reads a history and facts, believes no conclusion of the story's runner, and gives the same verdict for the same input.
// What it proves, how, and what it cannot see stands in docs/checker.md. The invariants it speaks of are I1–I16 of the ownership rules.
package checker
