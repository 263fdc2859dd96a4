// Package calendar is when things may be done and when they have to be: windows in which what interrupts production may begin, freezes 封网期 in
// which nothing of a kind may, cut-offs 日切 and 清算截止 of systems, and schedules of drills, verifications and inspections.
//
// A Calendar is a document of the manifest. All of them together are a Book, which is asked about one instant: Rule says whether a run may
// begin, Look how everything stands, Due what the platform has to begin by itself. The instant is a parameter, here is no clock.
//
// Times are those of the clock on the wall of a calendar's place. Where that clock is put back and shows a time twice, the first counts: what
// comes again comes once. Where it is put forward, what falls into the gap comes at its end: nothing is left out for the clock's sake (C1).
package calendar
