"""Python imports this as it starts, where its folder is on the path: then nothing beyond loopback is reached."""

import loopback

loopback.forbid_the_network()
