package shop

import (
	"github.com/nexusblueprint/nexus/schemas/avro"
	"github.com/nexusblueprint/nexus/schemas/avro/platform"
	"github.com/nexusblueprint/nexus/schemas/avro/retail"
	"github.com/nexusblueprint/nexus/topology"
)

// Topology is the shop as it runs: everything that exists is named here.
func Topology() *topology.Topology {
	return &topology.Topology{
		Context: "shop",
		Owner:   "retail-platform",
		Schemas: avro.Sets{platform.Schemas, retail.Schemas},
		Aggregates: []topology.Aggregate{
			{Aggregate: Order, Owner: "sales", Table: "shop.order.OrderTable"},
			{Aggregate: CreditNote, Owner: "sales", Table: "shop.creditnote.CreditNoteTable"},
			{Aggregate: Ledger, Owner: "finance", Table: "shop.ledger.LedgerTable"},
			{Aggregate: Stock, Owner: "warehouse", Table: "shop.stock.StockTable"},
		},
		Projections: []topology.Projection{
			{Projection: Orders, Owner: "sales", Table: "shop.sales.OrderDocumentTable"},
			{Projection: SalesByCountry, Owner: "sales", Table: "shop.sales.CountrySalesTable", Rekeyed: true},
			{Projection: SalesByMonth, Owner: "sales", Table: "shop.sales.MonthSalesTable", Rekeyed: true},
			{Projection: Products, Owner: "sales", Table: "shop.sales.ProductTable", Rekeyed: true},
			{Projection: Customers, Owner: "sales", Table: "shop.sales.CustomerTable", Rekeyed: true},
			{Projection: TotalsModel, Owner: "sales", Table: "shop.sales.TotalsTable", Rekeyed: true},
		},
		Limits: topology.Limits{TemporalQueriesPerMinute: 10},
	}
}
