// Package unit is the ownership of a replication group: who may write, and how that changes hands.
//
// It is pure. The world comes in as values and what must be done goes out as values:
//
//	Apply(record, transition) → record      every change of the store's record is one transition, judged here
//	Next(record, self, view) → action       what the agent of a member does next
//	Watch(record, sight) → order            what a node does about an owner that is silent or a switch that is stuck
//	Promise, Lease                          the promise of those who may replace an owner, and what it lets the owner do (I8)
//	Tracker                                 how long what an agent sees and knows has been so
//
// All of them are level-triggered: they look at what is, never at what was asked, so a process that is killed at any
// moment is followed by one that reads the same record and goes on (I15).
//
// The caller's duties: Apply is committed conditionally on the revision it was given; an action is carried out under the
// lock of the data directory, after the record was read again under that lock; whatever an action reports is fsynced in the
// agent's own file before the transition that depends on it is posted. An agent believes no record older than one it has
// met, and raises Self.Session when it starts and when a transition that it posted got no answer: before it does anything else.
// Before it posts OwnerDown nothing of the server is left; before it posts Grow no lease in the database outlives the promise of
// the new member. It ends a lease on its own clock, its predecessor's too.
//
// The rules are named I1–I17; refusals carry the name of the rule that forbids.
//
//	I1  one writer, one life: ownership only grows; a guard row belongs to one life of one server
//	I2  in-sync set: all listed members acknowledge; shrink store first, grow proof first
//	I3  acknowledged means durable on the owner and all of the in-sync set
//	I4  sever, then promote: the decision first, then the cut, then the position, then the promotion
//	I6  return: a directory that was an owner starts closed, is compared, rewound and joins as somebody new
//	I8  no write safety on a clock
//	I9  the fence is bounded and complete; who cannot close in its budget reopens at a new epoch
//	I10 store loss and restore: a new incarnation, empty sets, nothing granted without a person
//	I11 a lossy takeover is the decision of two people
//	I12 followers are never ahead of the in-sync set
//	I15 every step says what a successor does when it finds it half done: before the decision undo, after it forward
//	I16 detection is not leader work; damped; the owner wins over its copies
package unit
