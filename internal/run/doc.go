// Package run is one carrying out of a plan: what has happened so far, and what is to be done next.
//
// A run is a fold over its journal. Advance takes one entry and refuses what cannot follow: whoever appends an entry to the journal in the
// store has had it accepted by Advance first, on the condition that nobody else appended meanwhile. Decide says what is next: the entries
// to be appended, and what has to be looked at before more can be said. Neither knows a clock or a driver, and Advance evaluates no
// expression: what was decided stands in the journal, so that it reads the same for ever.
//
// A step holds its locks from its first attempt until it is settled: also between attempts, and while a person is asked what becomes of
// it, since nobody knows in what state it has left what it locked. Its undoing holds them again. What a run leaves behind when it winds up
// gives its locks back.
//
// An attempt is in doubt when its runner was lost, or when its driver says that it may have had its effect. The probe settles that: done; or
// nothing, which repeats the attempt of a lost runner and is a failure of one that was carried out to its end. Where no probe can tell, a
// person is asked whatever the plan says about failures, and a run that winds up waits for the answer. What only looks is never in doubt.
//
// An attempt that was posted with its beginning, by one transaction, is never in doubt: that it was begun is known, and whoever takes the run
// over follows it to its end.
//
// A step that is skipped before its turn is left out when its turn comes, so that what comes after it keeps its place. An approval is never
// left out (R6).
//
// A task that is declined has failed, and its plan says what that means. Where it is asked once more, what was answered before counts no more.
//
// What must hold:
//
//	R1  An action begins only after its intent is in the journal, and its result is there before anything that waits for it begins.
//	R2  A step that is settled is never begun again.
//	R3  An intent without a result is unknown to whoever takes the run over. It is probed before it is repeated; what only looks is repeated.
//	R4  A failure never passes in silence: the run stops, asks, undoes, or goes on because its plan says so, and then the report says so.
//	R5  The program does not change while the run lasts, whatever becomes of the plan.
//	R6  Who approves is not who started, nobody approves twice, and name, time and comment are in the journal. A voice that was delegated
//	    is its holder's no more, and whoever holds one has no second.
//	R7  Glass is broken in an emergency only, by name, with a second factor and a reason; the run then waits for the review of another person.
//	R8  What was signed elsewhere counts for what was asked when it was signed, until it expires, and once.
//	R9  What a program does not know of a run, a form of its journal, an entry or a field, it neither skips nor guesses: it leaves the run alone.
//	R10 Who attests a run stands for all of its journal before their word: once it is over, each person once, and not who started it.
package run
