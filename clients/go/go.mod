module sealgate/receipt

go 1.23
