"""What `phonenumbers` itself answers, by its public functions alone: the truth that every short cut is held against."""

import phonenumbers
from phonenumbers import PhoneMetadata, PhoneNumberFormat, ValidationResult

CODES = sorted(phonenumbers.COUNTRY_CODE_TO_REGION_CODE)
REGIONS = sorted(phonenumbers.SUPPORTED_REGIONS)


def library(text: str, region: str | None) -> int:
    """What the library alone reads, once: possible, and 7 to 15 digits."""
    try:
        number = phonenumbers.parse(text, region)
    except phonenumbers.NumberParseException:
        return 0
    if phonenumbers.is_possible_number_with_reason(number) != ValidationResult.IS_POSSIBLE:
        return 0
    digits = phonenumbers.format_number(number, PhoneNumberFormat.E164)[1:]
    return int(digits) if 7 <= len(digits) <= 15 else 0


def library_settled(text: str, region: str | None) -> int:
    """The same, read again until it stays, and without a trunk prefix that the library left before a valid number."""
    digits = library(text, region)
    while digits and (again := library(f"+{digits}", None)) != digits:
        digits = again
    if not digits:
        return 0
    number = phonenumbers.parse(f"+{digits}", None)
    trunk = metadata_of(number.country_code or 0).national_prefix
    national = phonenumbers.national_significant_number(number)
    if trunk and national.startswith(trunk) and not phonenumbers.is_valid_number(number):
        bare = library(f"+{number.country_code}{national[len(trunk) :]}", None)
        if bare and phonenumbers.is_valid_number(phonenumbers.parse(f"+{bare}", None)):
            return library_settled(f"+{bare}", None)
    return digits


def metadata_of(code: int) -> PhoneMetadata:
    """What the library goes by for a calling code."""
    region = phonenumbers.region_code_for_country_code(code)
    metadata = PhoneMetadata.metadata_for_region_or_calling_code(code, region)
    assert metadata
    return metadata


def trunk_prefixes(code: int) -> list[str]:
    """What may stand before a national number of this code, its own prefix more often than others."""
    own = metadata_of(code).national_prefix or ""
    # Trunk prefixes, carrier codes and mobile marks from around the world, with every code: what strips one of them
    # must be found.
    others = "0 1 8 9 00 01 06 010 015 080 90 0015 179 180020 003768 1001"
    return ([own] * 4 if own else []) + others.split()
