"""Tells other systems what happens: the registry's changes, and what a gateway should alarm of.

A process of its own and a plain client of the gateway: no database of the gateway, and no key of
its logs. It follows the registry's log, keeps each event with the deliveries that it means in one
SQLite file, and delivers by signed webhooks, at least once and in order for each model.
"""
