// Package calendar is when things may be done and when they have to be: windows in which what interrupts production may begin, freezes 封网期 in
// which nothing of a kind may, cut-offs 日切 and 清算截止 of systems, and schedules of drills, verifications and inspections.
//
// A Calendar is a document of the manifest. All of them together are a Book, which is asked about one instant: Rule says whether a run may
// begin, Look how everything stands, Due what the platform has to begin by itself. The instant is a parameter, here is no clock.
//
// What interrupts production, or tries out whether it is interrupted, begins in windows that people have approved:
//
//	W1  A run of a mode that needs a window begins in an open one that was approved as it stands: an approval is of its calendar and time zone, its
//	    name, modes, systems, units, plans and times, by a digest. A change of any of them asks for approval anew; its title is none of them.
//	W2  Who approves is never who starts: for who starts a run a window counts where somebody else approved it.
//	W3  Where there is no window there is none to begin in: without any calendar these modes are refused too. An emergency is never refused.
//	W4  An approval and its revocation have a person, a reason and an entry of the audit log. A revocation changes nothing in what has begun.
//	W5  Approvals are kept of windows of the applied manifest alone: with one that has not the window, or another one, they are dropped.
//
// Times are those of the clock on the wall of a calendar's place. Where that clock is put back and shows a time twice, the first counts: what
// comes again comes once. Where it is put forward, what falls into the gap comes at its end: nothing is left out for the clock's sake (C1).
package calendar
