// Package measure says how long things took in a run, and how long they will take in the next one.
//
// Everything is worked out from the program and the journal of a run: the same journal gives the same measures for ever. What the journal
// does not tell is nil, and never 0.
//
// The five clocks follow each other without a gap, so that together they are the time from the point of disruption until service was back:
//
//	detect 发现   disruption → detection          both are said at the start of the run
//	declare 宣告  detection → start of the run
//	decide 决策   start → the first attempt of an act
//	execute 执行  the first attempt of an act → the end of the last act
//	verify 验证   the end of the last act → the end of the last step
//
// Cleanups count in none of them, nor does undoing. A run without acts has no decide, execute and verify.
package measure
