// Command nexus is the platform's program over the reference shop.
package main

import (
	"context"
	"io"

	"github.com/nexusblueprint/nexus"
	"github.com/nexusblueprint/nexus/shop"
)

func main() {
	nexus.Program{
		Topology: shop.Topology(),
		Commands: shop.Commands(),
		Sample: &nexus.Sample{
			Name: "the orders of December 2010",
			Load: func(ctx context.Context, server string, out io.Writer) error {
				_, err := shop.Load(ctx, shop.LoadOptions{Server: server, Sources: shop.Sample("2010-12"), Out: out})
				return err
			},
			Try: []string{
				`curl -s '%s/api/queries/products?sort=-unitsSold&limit=3'`,
				`curl -s '%s/api/aggregates/order/536365'`,
			},
			Begin: []string{
				`curl -s -H 'Content-Type: application/json' -d '{"sku":"22423","description":"REGENCY CAKESTAND 3 TIER","quantity":12,"reference":"delivery-1"}' '%s/api/commands/ReceiveStock'`,
				`curl -s '%s/api/aggregates/stock/22423'`,
			},
		},
	}.Main()
}
