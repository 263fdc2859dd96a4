package app

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"perdure/internal/controller"
	"perdure/internal/driver"
	"perdure/internal/errs"
	"perdure/internal/estate"
	"perdure/internal/gateway"
)

// endsBound is how long a gateway may take to say what it holds: those of a lost site never answer.
const endsBound = time.Second

// receipts asks the gateways that still answer for what they and the lost ones acknowledged.
type receipts struct {
	client   *http.Client
	gateways []Peer
}

// held is what one gateway holds of one gateway's ledger.
type held struct {
	gateway.LedgerEnd
	at Peer
}

// Since hands the receipts on: of each gateway from whoever holds most of its ledger.
func (r receipts) Since(ctx context.Context, u estate.UnitID, at time.Time, on func(controller.Kept) error) (controller.Sources, error) {
	if len(r.gateways) == 0 {
		return controller.Sources{}, errs.New(errs.Unavailable, "no gateway is configured")
	}
	most, silent := r.most(ctx)
	if len(most) == 0 {
		return controller.Sources{}, errs.New(errs.Unavailable, "%s", strings.Join(slices.Sorted(maps.Values(silent)), "; "))
	}
	sources := controller.Sources{Said: said(most, silent)}
	for _, g := range r.gateways {
		if _, ok := most[g.Name]; !ok {
			sources.Missing = append(sources.Missing, g.Name)
		}
	}
	query := url.Values{"unit": {string(u)}}
	if !at.IsZero() {
		query.Set("since", strconv.FormatInt(at.UnixMilli(), 10))
	}
	for _, from := range slices.Sorted(maps.Keys(most)) {
		h := most[from]
		if begins := time.UnixMilli(h.Begins); begins.After(sources.From) {
			sources.From = begins
		}
		if _, lost := silent[from]; lost || h.at.Name != from {
			if grown := time.UnixMilli(h.Grown); sources.Until.IsZero() || grown.Before(sources.Until) {
				sources.Until = grown
			}
		}
		query.Set("from", from)
		err := r.get(ctx, h.at, "/ledger?"+query.Encode(), func(body io.Reader) error {
			return readLines(body, func(e gateway.Entry) error { return on(receipt(e)) })
		})
		if err != nil {
			return sources, err
		}
	}
	return sources, nil
}

// most says who holds most of each gateway's ledger, and why others could not say what they hold.
func (r receipts) most(ctx context.Context) (map[string]held, map[string]string) {
	ctx, cancel := context.WithTimeout(ctx, endsBound)
	defer cancel()
	ends := make([][]gateway.LedgerEnd, len(r.gateways))
	problems := make([]error, len(r.gateways))
	var asked errgroup.Group
	for i, g := range r.gateways {
		asked.Go(func() error {
			problems[i] = r.get(ctx, g, "/ledgers", func(body io.Reader) error { return json.NewDecoder(body).Decode(&ends[i]) })
			return nil
		})
	}
	_ = asked.Wait()
	most, silent := map[string]held{}, map[string]string{}
	for i, g := range r.gateways {
		if problems[i] != nil {
			silent[g.Name] = fmt.Sprintf("gateway %s: %v", g.Name, problems[i])
			continue
		}
		for _, e := range ends[i] {
			if m, ok := most[e.From]; !ok || e.File > m.File || e.File == m.File && e.Offset > m.Offset {
				most[e.From] = held{e, g}
			}
		}
	}
	return most, silent
}

// said names the sources for people: who answered, and of those who did not, whose copy is taken and when it last grew.
func said(most map[string]held, silent map[string]string) string {
	var own, copies []string
	for _, from := range slices.Sorted(maps.Keys(most)) {
		h := most[from]
		if _, lost := silent[from]; lost || h.at.Name != from {
			copies = append(copies, fmt.Sprintf("those of gateway %s as the copy at %s has them, which last grew at %s", from, h.at.Name, time.UnixMilli(h.Grown).UTC().Format(time.RFC3339Nano)))
		} else {
			own = append(own, from)
		}
	}
	if len(own) == 0 {
		return "receipts: " + strings.Join(copies, ", ")
	}
	return strings.Join(append([]string{"receipts kept at gateway " + strings.Join(own, ", ")}, copies...), ", ")
}

// receipt is an entry of a ledger as the controller takes it.
func receipt(e gateway.Entry) controller.Kept {
	ownership, err := estate.ParseOwnership(e.Ownership)
	if err != nil {
		ownership = estate.Ownership{} // older than any: it is compared rather than left out
	}
	return controller.Kept{
		Receipt:   driver.Receipt{Caller: e.Caller, RoutingKey: e.RoutingKey, Key: e.Key, Accounts: e.Receipt.Accounts, Amount: e.Receipt.Amount},
		Ownership: ownership, At: time.UnixMilli(e.At), Unknown: e.Unknown,
	}
}

func (r receipts) get(ctx context.Context, g Peer, path string, read func(io.Reader) error) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, g.URL+path, nil)
	if err != nil {
		return err
	}
	answer, err := r.client.Do(request)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return errs.New(errs.Unavailable, "gateway %s answers %s", g.Name, answer.Status)
	}
	return read(answer.Body)
}

func readLines(body io.Reader, on func(gateway.Entry) error) error {
	lines := bufio.NewScanner(body)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var e gateway.Entry
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			return errs.New(errs.Internal, "a receipt cannot be read: %w", err)
		}
		if err := on(e); err != nil {
			return err
		}
	}
	return lines.Err()
}
