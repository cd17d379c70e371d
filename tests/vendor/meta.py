"""Reads our Meta requests with the classes of Meta's own library (PyPI `facebook_business`).

Each event is built again from ours as Event, UserData, CustomData, Content and AppData, and must
come out as it went in: a field that the library does not know, or of another type than it
declares, fails. Then the library normalises and hashes the same people itself.

    meta.py requests.json
"""

import json
import re
import sys

from facebook_business.adobjects.serverside.action_source import ActionSource
from facebook_business.adobjects.serverside.app_data import AppData
from facebook_business.adobjects.serverside.content import Content
from facebook_business.adobjects.serverside.custom_data import CustomData
from facebook_business.adobjects.serverside.delivery_category import DeliveryCategory
from facebook_business.adobjects.serverside.event import Event
from facebook_business.adobjects.serverside.extended_device_info import ExtendedDeviceInfo
from facebook_business.adobjects.serverside.gender import Gender
from facebook_business.adobjects.serverside.messaging_channel import MessagingChannel
from facebook_business.adobjects.serverside.normalize import Normalize
from facebook_business.adobjects.serverside.user_data import UserData

# The library's names of what stands on the wire under others.
USER = {
    "em": "emails", "ph": "phones", "ge": "genders", "db": "dates_of_birth", "ln": "last_names",
    "fn": "first_names", "ct": "cities", "st": "states", "zp": "zip_codes",
    "country": "country_codes", "external_id": "external_ids",
}
CONTENT = {"id": "product_id"}

# What Meta's pages list and the library has no field for.
PAGES_KNOW = {"AppData": {"vendor_id"}}

# Standard keys that the library has no field for, and what tells an adjustment's type under a name of
# one's own; any other is an event's own property.
CRM = {"event_source", "lead_event_source", "adjustment_type"}

# How the interface names what the library normalises.
PERSON = {
    "email": "em", "phone": "ph", "first_name": "fn", "last_name": "ln", "city": "ct",
    "region": "st", "postal_code": "zp", "country": "country",
}

problems = []


def checked(where, kind, wire, names=None, convert=None, types=None):
    """An object of the library's class, its fields held against the declared types."""
    names, convert, types = names or {}, convert or {}, types or {}
    arguments = {}
    for key, value in wire.items():
        if key in PAGES_KNOW.get(kind.__name__, ()):
            continue
        name = names.get(key, key)
        declared = types.get(name) or kind.param_types.get(name)
        if declared is None:
            problems.append(f"{where}: {kind.__name__} knows no {key}")
        elif not fits(declared, value):
            problems.append(f"{where}: {key} is {json.dumps(value)}, and should be {declared}")
        else:
            arguments[name] = convert[name](value) if name in convert else value
    return kind(**arguments)


def fits(declared, value):
    inner = re.fullmatch(r"list\[(.*)\]", declared)
    if inner:
        return isinstance(value, list) and all(fits(inner[1], one) for one in value)
    plain = {"str": str, "bool": bool, "dict": dict}
    if declared in plain:
        return isinstance(value, plain[declared])
    if declared in ("int", "float"):
        kinds = int if declared == "int" else (int, float)
        return isinstance(value, kinds) and not isinstance(value, bool)
    return value is not None  # a class of its own, judged where it is built


def user_data(where, wire):
    # The library's own page says a number for lead_id; its declaration says a string.
    types = {"lead_id": "int", "ctwa_clid": "str", "page_id": "str", "genders": "list[str]"}
    hashed = dict(wire)
    genders = hashed.pop("ge", [])
    data = checked(where, UserData, hashed, USER, types=types)
    letters = {Normalize.normalize_field("ge", gender.value): gender for gender in Gender}
    data.genders = [letters[digest] for digest in genders]
    return data


def custom_data(where, wire, event):
    own = event.get("properties", {})
    free = {k: v for k, v in wire.items() if k not in CustomData.param_types}
    for key in free:
        if key not in own and key not in CRM:
            problems.append(f"{where}: custom_data has {key}, which nobody asked for")
    # The library's page and its setter say a number for quantity; its declaration says a string.
    category, types = {"delivery_category": DeliveryCategory}, {"quantity": "int"}
    contents = [
        checked(f"{where} contents", Content, one, CONTENT, category, types)
        for one in wire.get("contents", [])
    ]
    rest = {k: v for k, v in wire.items() if k not in free and k != "contents"}
    data = checked(where, CustomData, rest, convert=category)
    if contents:
        data.contents = contents
    data.custom_properties = free
    return data


def app_data(where, wire):
    flags = {k: bool(v) for k, v in wire.items() if k.endswith("_enabled") and v in (0, 1)}
    extinfo = wire.get("extinfo", [])
    if len(extinfo) != 16 or not all(isinstance(one, str) for one in extinfo):
        problems.append(f"{where}: extinfo is not 16 strings")
    rest = {k: v for k, v in wire.items() if k not in ("extinfo", *flags)}
    data = checked(where, AppData, {**rest, **flags})
    data.extinfo = ExtendedDeviceInfo(*extinfo)
    return data


def rebuilt(where, ours, event):
    """Our event through the library: what it would send."""
    parts = {
        "user_data": lambda it: user_data(f"{where} user_data", it),
        "custom_data": lambda it: custom_data(f"{where} custom_data", it, event),
        "app_data": lambda it: app_data(f"{where} app_data", it),
        "action_source": ActionSource,
        "messaging_channel": MessagingChannel,
    }
    theirs = checked(where, Event, ours, convert=parts).normalize()
    # Both cases are taken; the library writes the lower one.
    if "currency" in ours.get("custom_data", {}):
        theirs["custom_data"]["currency"] = theirs["custom_data"]["currency"].upper()
    if "app_data" in ours:
        flags = {k: int(v) for k, v in theirs["app_data"].items() if isinstance(v, bool)}
        kept = {k: v for k, v in ours["app_data"].items() if k in PAGES_KNOW["AppData"]}
        theirs["app_data"].update(**flags, **kept)
    return theirs


def compare(where, ours, theirs):
    """Names what differs; the library loses the order of lists."""
    if isinstance(ours, dict) and isinstance(theirs, dict):
        for key in ours.keys() | theirs.keys():
            compare(f"{where}.{key}", ours.get(key), theirs.get(key))
        return
    if isinstance(ours, list) and isinstance(theirs, list):
        ours, theirs = (sorted(json.dumps(one, sort_keys=True) for one in it) for it in (ours, theirs))
    if ours != theirs:
        problems.append(f"{where}: sent {json.dumps(ours)}, read as {json.dumps(theirs)}")


def people(where, ours, event):
    """The same inputs, normalised and hashed by the library."""
    for field, key in PERSON.items():
        given = event.get("user", {}).get(field)
        digests = ours["user_data"].get(key)
        if not given or digests is None:
            continue
        given = given if isinstance(given, list) else [given]
        if any(re.fullmatch(r"[0-9a-fA-F]{64}.*", text.strip()) for text in given):
            continue  # hashed by the sender, perhaps with the param builder's appendix
        if field == "phone" and any(not text.strip().startswith("+") for text in given):
            continue  # a national number: the library reads it as an international one
        theirs = {Normalize.normalize_field(key, text) for text in given}
        if theirs != set(digests):
            problems.append(f"{where}: {key} of user.{field} is another hash at Meta's library")


with open(sys.argv[1]) as file:
    requests = json.load(file)
events = 0
for request in requests:
    where, event, body = request["name"], request["event"], request["body"]
    for key in body.keys() - {"data", "test_event_code"}:
        problems.append(f"{where}: a request has no {key}")
    for ours in body["data"]:
        events += 1
        # The library's list has WhatsApp alone; the vendor's page has these too.
        if ours.get("messaging_channel") in ("messenger", "instagram"):
            ours = {key: value for key, value in ours.items() if key != "messaging_channel"}
        compare(where, ours, rebuilt(where, ours, event))
        people(where, ours, event)
print(f"{events} events read by facebook_business, {len(problems)} problems")
print("\n".join(problems))
sys.exit(bool(problems) or events < 3)
