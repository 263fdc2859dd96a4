package api

import (
	"cmp"
	"context"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"perdure/internal/errs"
)

// Paging is the query of lists that may be long. A page that is not the last has a Link header with rel="next" (RFC 8288).
type Paging struct {
	Limit int    `query:"limit" minimum:"1" maximum:"1000" default:"100" doc:"at most so many; a Link header leads to the next ones"`
	After string `query:"after" doc:"where the page before ended, as its Link header says it"`
}

// page is one page of a list.
type page[T any] struct {
	Link string `header:"Link" doc:"the next page, rel=next; none where this is the last"`
	Body []T
}

// place is where an item stands in its list: the newest first, and by name where two are as new. What comes in front later moves no page.
type place struct {
	at   int64 // Unix milliseconds, or 0 for a list in the order of names
	name string
}

func (p place) compare(q place) int {
	return cmp.Or(cmp.Compare(q.at, p.at), cmp.Compare(p.name, q.name))
}

// cursor is a place as it stands in a link.
func (p place) cursor() string { return fmt.Sprintf("%d.%s", p.at, p.name) }

func placeOf(cursor string) (place, error) {
	number, name, ok := strings.Cut(cursor, ".")
	at, err := strconv.ParseInt(number, 10, 64)
	if !ok || err != nil {
		return place{}, errs.New(errs.Invalid, "after %q: take it from the Link header of the page before", cursor)
	}
	return place{at, name}, nil
}

// pageOf gives the page of a list that was read whole, in the order of places.
func pageOf[T any](ctx context.Context, in Paging, all []T, where func(T) place) (*page[T], error) {
	slices.SortStableFunc(all, func(a, b T) int { return where(a).compare(where(b)) })
	if in.After != "" {
		last, err := placeOf(in.After)
		if err != nil {
			return nil, err
		}
		begin, _ := slices.BinarySearchFunc(all, last, func(v T, last place) int {
			if where(v).compare(last) > 0 {
				return 1
			}
			return -1
		})
		all = all[begin:]
	}
	out := &page[T]{Body: append([]T{}, all[:min(len(all), in.Limit)]...)}
	if len(all) > len(out.Body) {
		out.Link = next(ctx, where(out.Body[len(out.Body)-1]).cursor())
	}
	return out, nil
}

// next is the link to the page behind the cursor, with all else that the request asked for.
func next(ctx context.Context, cursor string) string {
	address := addressed(ctx)
	query := address.Query()
	query.Set("after", cursor)
	return fmt.Sprintf("<%s>; rel=\"next\"", (&url.URL{Path: address.Path, RawQuery: query.Encode()}).String())
}
