// Package duty is who is on duty when: rosters 值班表 with shifts on the clock of a place, and who stands in for whom.
//
// It decides and keeps nothing. Rosters are documents of the manifest, and now is a parameter.
//
//	U1  What is asked of a duty is asked of who is on duty at that moment: at a hand-over it goes to the next by itself.
//	U2  A duty gives nobody a right: whoever is on duty answers only where they have the role, or belong to the participant, that it is a duty of.
//	U3  Nothing is asked of nobody: while nobody is on duty what is asked of a duty is asked of all of whom it is one.
package duty
