package wire

import (
	"perdure/internal/driver"
	"perdure/internal/estate"
	"perdure/internal/heldorder"
)

// OrdersAnswer says what came of a word to the orders of a run.
type OrdersAnswer struct {
	// New is how many orders it said something new of, Same of how many it did not.
	New  int `json:"new"`
	Same int `json:"same"`
	// Dry: nothing was written.
	Dry    bool               `json:"dry,omitempty"`
	Totals heldorder.Totals   `json:"totals"`
	Units  []heldorder.Totals `json:"units"`
}

// DropOrders says that orders are not entered.
type DropOrders struct {
	Orders []heldorder.Ref `json:"orders" minItems:"1" maxItems:"1000"`
	Reason string          `json:"reason" minLength:"1" maxLength:"1000"`
}

// RecordsRequest asks an owner's agent what is recorded under keys.
type RecordsRequest struct {
	Keys []driver.Key `json:"keys"`
}

// RecordsAnswer is what is recorded there, in the ownership in which it was looked at; what it says was found behind a barrier (I3).
type RecordsAnswer struct {
	Ownership estate.Ownership `json:"ownership"`
	Records   []driver.Record  `json:"records,omitempty"`
}
