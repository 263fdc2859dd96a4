// Package rectification keeps what a run has shown to be wrong until a re-test shows that it is put right 整改跟踪. There is one Sheet for a run, with an
// Item for every problem of its evaluation, and for what people add.
//
// A Sheet changes only through Apply, which is pure: its caller names the instant, the person and what the re-test shows, and commits the outcome on
// the condition of the sheet's revision.
//
//	C1  Every problem of a run has one item, however often its sheet is opened.
//	C2  An item is put right by a named person, who says what was done; before that nothing is re-tested.
//	C3  It ends by a re-test: a run that began afterwards and shows that the problem is gone, confirmed by another person than who put it right.
//	    Or a commander who neither owns it nor put it right accepts the risk, with a reason.
//	C4  A re-test that shows the problem again makes the item open again.
//	C5  An item that ended never changes.
package rectification
