"""Light over the network: from the values of a stream to the channels of lamps, by sACN, Art-Net, WLED and LedFx."""
