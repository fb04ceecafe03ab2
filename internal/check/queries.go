package check

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"
)

// pageBytesMax bounds one page of answers: a thousand documents.
const pageBytesMax = 256 << 20

// API reads read models through the query API of a server.
type API struct {
	URL    string
	Client *http.Client
}

// Documents implements ReadModels.
func (a API) Documents(ctx context.Context, readModel, position string, f func(document []byte) error) error {
	query := url.Values{"limit": {"1000"}, "wait": {"30s"}}
	if position != "" {
		query.Set("position", position)
	}
	for {
		var page struct {
			Items []json.RawMessage `json:"items"`
			Next  *string           `json:"next"`
		}
		if err := a.get(ctx, "/api/queries/"+url.PathEscape(readModel)+"?"+query.Encode(), &page); err != nil {
			return err
		}
		for _, item := range page.Items {
			if err := f(item); err != nil {
				return err
			}
		}
		if page.Next == nil {
			return nil
		}
		query.Set("cursor", *page.Next)
	}
}

// A server that is busy says so; it is asked again a few times.
const (
	attemptsMax  = 5
	attemptPause = time.Second
)

// problem is how the server says no.
type problem struct {
	Status int    `json:"-"`
	Code   string `json:"code"`
	Title  string `json:"title"`
	Detail string `json:"detail"`
}

func (p *problem) Error() string {
	return fmt.Sprintf("the server answers %d %s: %s: %s", p.Status, p.Code, p.Title, p.Detail)
}

func (p *problem) passing() bool {
	return p.Code == "unavailable" || p.Code == "overloaded" || p.Status == http.StatusTooManyRequests
}

func (a API) get(ctx context.Context, path string, into any) error {
	for attempt := 1; ; attempt++ {
		err := a.try(ctx, path, into)
		var no *problem
		if !errors.As(err, &no) || !no.passing() || attempt == attemptsMax {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(attemptPause):
		}
	}
}

func (a API) try(ctx context.Context, path string, into any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, a.URL+path, nil)
	if err != nil {
		return err
	}
	resp, err := a.Client.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(resp.Body, pageBytesMax))
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		no := &problem{}
		if json.Unmarshal(body, no) != nil || no.Title == "" {
			no.Title = short(body) // not the platform's answer: a proxy's, say
		}
		no.Status = resp.StatusCode
		return no
	}
	return json.Unmarshal(body, into)
}

// Endpoints are the addresses that a server names.
type Endpoints struct{ API, Bus, Registry string }

// Endpoints asks the server where its parts are.
func (a API) Endpoints(ctx context.Context) (e Endpoints, err error) {
	return e, a.get(ctx, "/api/admin/endpoints", &e)
}

// LagRecords is how many records of the log the slowest read model has not
// applied yet.
func (a API) LagRecords(ctx context.Context) (most int64, err error) {
	var models struct {
		Items []struct {
			LagRecords int64 `json:"lagRecords"`
		} `json:"items"`
	}
	if err := a.get(ctx, "/api/queries", &models); err != nil {
		return 0, err
	}
	for _, m := range models.Items {
		most = max(most, m.LagRecords)
	}
	return most, nil
}
