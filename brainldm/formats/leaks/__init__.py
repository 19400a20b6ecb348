"""The leak check: does a folder that will be published hold anything of a participant, of the lab's key or of this machine?"""
