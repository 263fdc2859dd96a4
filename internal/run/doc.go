// Package run is one carrying out of a plan: what has happened so far, and what is to be done next.
//
// A run is a fold over its journal. Advance takes one entry and refuses what cannot follow: whoever appends an entry to the journal in the
// store has had it accepted by Advance first, on the condition that nobody else appended meanwhile. Decide says what is next: the entries
// to be appended, and what has to be looked at before more can be said. Neither knows a clock or a driver, and Advance evaluates no
// expression: what was decided stands in the journal, so that it reads the same for ever.
//
// What must hold:
//
//	R1  An action begins only after its intent is in the journal, and its result is there before anything that waits for it begins.
//	R2  A step that is settled is never begun again.
//	R3  An intent without a result is unknown to whoever takes the run over. It is probed before it is repeated; what only looks is repeated.
//	R4  A failure never passes in silence: the run stops, asks, undoes, or goes on because its plan says so, and then the report says so.
//	R5  The program does not change while the run lasts, whatever becomes of the plan.
//	R6  Who approves is not who started, nobody approves twice, and name, time and comment are in the journal.
package run
