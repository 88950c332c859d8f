"""Writers of the embedded real data in layouts that stock data set classes read."""
