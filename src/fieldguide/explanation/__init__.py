"""Why a picture got its answer: where the network looked, and which training pictures it resembles."""
