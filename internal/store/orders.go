package store

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"

	clientv3 "go.etcd.io/etcd/client/v3"

	"perdure/internal/errs"
	"perdure/internal/heldorder"
	"perdure/internal/wire"
)

const (
	// orderPart is how much of a word stands in one value; what fits into it stands with the word itself.
	orderPart = 256 << 10
	// orderWords are read at once.
	orderWords = 16
	// orderTries is how often a word is judged anew after another one came between.
	orderTries = 16
)

// storedWord is a word to the orders of a run. Its bytes never change, and their digest stands in the audit log.
type storedWord struct {
	Seq    int    `json:"seq"`
	SHA256 string `json:"sha256"`
	// Word is the word, or Parts how many parts it lies in.
	Word  json.RawMessage `json:"word,omitempty"`
	Parts int             `json:"parts,omitempty"`
}

func orderWordAt(run string, seq int) string {
	return fmt.Sprintf("%s%s/%06d", orderWordsPrefix, run, seq)
}

func orderPartAt(run, sum string, n int) string {
	return fmt.Sprintf("%s%s/%s/%04d", orderPartsPrefix, run, sum, n)
}

// OrderHead reads the orders of a run at a glance; Seq 0: nobody has handed any in.
func (s *Store) OrderHead(ctx context.Context, run string, r wire.Read) (heldorder.Head, error) {
	if err := checkName("run", run); err != nil {
		return heldorder.Head{}, err
	}
	e, _, err := s.get(ctx, orderHeadsPrefix+run, r)
	if err != nil || e.modified == 0 {
		return heldorder.Head{Run: run, Units: []heldorder.Totals{}}, err
	}
	return orderHeadOf(e)
}

func orderHeadOf(e entry) (heldorder.Head, error) {
	head, err := decode[heldorder.Head](e)
	head.Revision = e.modified
	return head, err
}

// OrderHeads reads those of all runs, in the order of their names.
func (s *Store) OrderHeads(ctx context.Context, r wire.Read) ([]heldorder.Head, error) {
	entries, _, err := s.list(ctx, orderHeadsPrefix, r)
	if err != nil {
		return nil, err
	}
	list := make([]heldorder.Head, 0, len(entries))
	for _, e := range entries {
		head, err := orderHeadOf(e)
		if err != nil {
			return nil, err
		}
		list = append(list, head)
	}
	return list, nil
}

// Orders reads the orders of a run; a ledger without words where there are none. Each word is held against its digest.
func (s *Store) Orders(ctx context.Context, run string) (*heldorder.Ledger, error) {
	l := &heldorder.Ledger{Run: run}
	err := s.orderWords(ctx, run, func(text []byte) error {
		var w heldorder.Word
		if err := json.Unmarshal(text, &w); err != nil {
			return errs.New(errs.Internal, "what was said to the orders of run %s cannot be read: %w", run, err)
		}
		return l.Add(w)
	})
	return l, err
}

// OrderWords reads what was said to the orders of a run as it is kept: one word a line, empty where there is none.
func (s *Store) OrderWords(ctx context.Context, run string) ([]byte, error) {
	var out bytes.Buffer
	err := s.orderWords(ctx, run, func(text []byte) error {
		out.Write(text)
		out.WriteByte('\n')
		return nil
	})
	return out.Bytes(), err
}

func (s *Store) orderWords(ctx context.Context, run string, on func(text []byte) error) error {
	head, err := s.OrderHead(ctx, run, wire.Fresh)
	if err != nil {
		return err
	}
	for seq := 1; seq <= head.Seq; {
		entries, _, err := s.listFrom(ctx, orderWordsPrefix+run+"/", orderWordAt(run, seq), wire.Fresh, clientv3.WithLimit(orderWords))
		if err != nil {
			return err
		}
		if len(entries) == 0 {
			return errs.New(errs.Internal, "the orders of run %s lack word %d of %d", run, seq, head.Seq)
		}
		for _, e := range entries {
			if seq > head.Seq {
				break // said since
			}
			w, err := decode[storedWord](e)
			if err != nil {
				return err
			}
			if w.Seq != seq {
				return errs.New(errs.Internal, "the orders of run %s lack word %d of %d", run, seq, head.Seq)
			}
			text, err := s.orderText(ctx, run, w)
			if err == nil {
				err = on(text)
			}
			if err != nil {
				return err
			}
			seq++
		}
	}
	return nil
}

// orderText is the text of a word.
func (s *Store) orderText(ctx context.Context, run string, w storedWord) ([]byte, error) {
	text := []byte(w.Word)
	for n := range w.Parts {
		e, _, err := s.get(ctx, orderPartAt(run, w.SHA256, n), wire.Fresh)
		if err != nil {
			return nil, err
		}
		text = append(text, e.value...)
	}
	if sum := sha256.Sum256(text); hex.EncodeToString(sum[:]) != w.SHA256 {
		return nil, errs.New(errs.Internal, "word %d to the orders of run %s is not what was said: its SHA-256 is another one", w.Seq, run)
	}
	return text, nil
}

// SayOrders commits what is said to the orders of a run, judged on how they stand now, whole or not at all; line may be nil. What says nothing new writes
// nothing. With dry nothing is written at all. It gives the ledger as it is then, and what of the word was new.
func (s *Store) SayOrders(ctx context.Context, run, who string, w heldorder.Word, line func(int) int, dry bool) (*heldorder.Ledger, heldorder.Word, error) {
	if err := s.o.MayAct(); err != nil {
		return nil, w, err
	}
	for range orderTries {
		head, err := s.OrderHead(ctx, run, wire.Fresh)
		if err != nil {
			return nil, w, err
		}
		l, err := s.Orders(ctx, run)
		if err != nil {
			return nil, w, err
		}
		if l.Seq != head.Seq {
			continue
		}
		w.At = s.instant()
		next, problems, err := l.Judge(w, line)
		if err == nil {
			err = heldorder.Wrong(problems)
		}
		if err != nil || next.Empty() {
			return l, next, err
		}
		if err := l.Add(next); err != nil || dry {
			return l, next, err
		}
		ok, err := s.writeOrders(ctx, who, l.Head(), next, head.Revision)
		if err != nil || ok {
			return l, next, err
		}
	}
	return nil, w, errs.New(errs.Conflict, "the orders of run %s keep changing; say it again", run)
}

// writeOrders writes a word: what does not fit beside it first, where it means nothing yet, then the word, the head and the event at once.
func (s *Store) writeOrders(ctx context.Context, who string, head heldorder.Head, w heldorder.Word, before int64) (ok bool, err error) {
	text, err := json.Marshal(w)
	if err != nil {
		return false, errs.New(errs.Internal, "cannot encode what is said to the orders of run %s: %w", head.Run, err)
	}
	sum := sha256.Sum256(text)
	stored := storedWord{Seq: w.Seq, SHA256: hex.EncodeToString(sum[:])}
	if len(text) <= orderPart {
		stored.Word = text
	}
	for from := 0; stored.Word == nil && from < len(text); from += orderPart {
		part := clientv3.OpPut(Root+orderPartAt(head.Run, stored.SHA256, stored.Parts), string(text[from:min(from+orderPart, len(text))]))
		if _, _, err := s.commit(apart(ctx), "keep orders of run "+head.Run, nil, []clientv3.Op{part}); err != nil {
			return false, err
		}
		stored.Parts++
	}
	word, err := put(orderWordAt(head.Run, w.Seq), stored)
	if err != nil {
		return false, err
	}
	top, err := put(orderHeadsPrefix+head.Run, head)
	if err != nil {
		return false, err
	}
	event, err := s.event(before, wire.Event{Who: who, What: heldorder.Event, Subject: head.Run}, heldorder.Said{
		Seq: w.Seq, What: w.What, SHA256: stored.SHA256, Orders: len(w.Orders) + len(w.Proofs) + len(w.Refs), Reason: w.Reason,
	})
	if err != nil {
		return false, err
	}
	conditions := []clientv3.Cmp{unchanged(orderHeadsPrefix+head.Run, before), unchanged(orderWordAt(head.Run, w.Seq), 0)}
	_, ok, err = s.commit(ctx, "keep orders of run "+head.Run, conditions, []clientv3.Op{word, top, event})
	return ok, err
}
