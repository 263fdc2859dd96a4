// Package heldorder keeps the orders of customers that could not go through a system while it was switched 业务留单, until every one of them is accounted
// for. An order was held by a participant, to be entered when the takeover is over; or it was taken at the DR side on paper or by another channel, and has to
// become known at home. There is one Ledger for a run in mode takeover or emergency.
//
// A Ledger is what was said to it, word after word. Judge says what of a word is new, and Add takes it up; both are pure, and their caller commits the word
// on the condition that nothing was said since. Read reads orders from a CSV file.
//
//	H1  An order is in a ledger once, by its holder and reference. The same again changes nothing; the same with other content is refused.
//	H2  No two orders of a ledger that count have the same key: the record of one request never proves two orders.
//	H3  An order is entered when the agent of the unit's owner has found the record of its key there, of a request that was carried out, with its
//	    amount where the record has one, behind a barrier; the ownership in which it was found is written down. Nobody says so by hand.
//	H4  A proof counts until an ownership from its own on was left with a loss, or the store was recovered, within the retention of keys. Then the order is
//	    open until it is found again. Later than that nobody can be asked, and it counts for good.
//	H5  An open order is dropped by a named person, with a reason. What was dropped never changes.
//	H6  Nothing is taken out. A wrong order is dropped, and the right one is another order.
package heldorder
