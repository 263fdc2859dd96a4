package load

import (
	"encoding/json"

	"perdure/internal/lab/history"
)

// readBalance takes the balance out of the answer to a read. An answer without one is wrong, whatever its status.
func readBalance(body []byte, call *history.Call) {
	var answer struct {
		Balance *history.Amount `json:"balance"`
	}
	if err := json.Unmarshal(body, &answer); err != nil || answer.Balance == nil {
		call.Outcome = history.Wrong
		return
	}
	call.Value = *answer.Balance
}
