"""Drop-ins for training frameworks: what needs a Checkpointer or a Store.

Users import them from ``holdfast.dcp``, ``holdfast.lightning`` and so on. Nothing here is imported
before that.
"""
