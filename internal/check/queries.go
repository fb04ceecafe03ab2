package check

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
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

func (a API) get(ctx context.Context, path string, into any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, a.URL+path, nil)
	if err != nil {
		return err
	}
	resp, err := a.Client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, pageBytesMax))
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("the server answers %d: %s", resp.StatusCode, short(body))
	}
	return json.Unmarshal(body, into)
}

// Endpoints are the addresses that a server names.
type Endpoints struct{ API, Bus, Registry string }

// Endpoints asks the server where its parts are.
func (a API) Endpoints(ctx context.Context) (e Endpoints, err error) {
	return e, a.get(ctx, "/api/admin/endpoints", &e)
}
