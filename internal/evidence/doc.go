// Package evidence is the log of everything that counts as proof, and the packs that are handed over from it.
//
// The log is append-only: a Merkle tree over its leaves (RFC 6962 hashes) whose root is signed from time to time, in a checkpoint. Whoever
// has seen a checkpoint can tell whether a leaf was in the log then, and whether a later checkpoint still contains all that the earlier one
// did. A pack is a file with some of the leaves, what is needed to check them against a checkpoint, and files whose hashes stand in a leaf.
// It is verified offline, with nothing but the public keys.
//
// What must hold:
//
//	E1  Every byte of a pack counts: a bit that was flipped is found, and the section that it lies in is named.
//	E2  What a pack is about is signed too: its last leaf lists the others and the files, so that none can be taken out, added or put elsewhere.
//	E3  A checkpoint that nobody known has signed proves nothing, and is said to.
//	E4  What was handed in with a task of the journal, or made by one of its actions, is in the pack, byte for byte.
//	E5  A decision that the journal says was signed by a person bears their signature, over this run, its program, its parameters and the question.
//	E6  What was said to the held orders of the run is in the pack, word for word and in its order, as the log names it.
//	E7  What was retired is in the log by its hash: every checkpoint holds as before, what stays is proved as before, and a stretch names what it lacks.
package evidence
